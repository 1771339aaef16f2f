package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"liuhen/domain"
	"liuhen/domain/rulebook"
	"liuhen/projections"
)

// benchJudge judges every act of the imported log again, as a replay does, and
// sees that the findings are those that were recorded.
func (p *program) benchJudge(ctx context.Context, r *report) error {
	db, closeDB, err := p.openDB(ctx)
	if err != nil {
		return err
	}
	defer closeDB()
	book, err := p.law()
	if err != nil {
		return err
	}
	var ids []domain.CaseID
	for e, err := range db.EachLedger(ctx, projections.LedgerFilter{Procedure: "traffic-fine"}, nil) {
		if err != nil {
			return err
		}
		ids = append(ids, e.Case)
	}
	var lat []time.Duration
	began, judging := time.Now(), time.Duration(0)
	for chunk := range slices.Chunk(ids, 2000) {
		cases, _, err := db.Load(ctx, chunk)
		if err != nil {
			return err
		}
		for _, records := range cases {
			for _, took := range judgeAgain(book, records) {
				if took < 0 {
					return fmt.Errorf("case %s: judged again an act has other findings", records[0].Subject)
				}
				lat = append(lat, took)
				judging += took
			}
		}
	}
	r.add("Judging", "acts of the imported log judged again, read from the timeline, one after another", "acts/s", float64(len(lat))/time.Since(began).Seconds(), nil)
	r.add("Judging", "of that, judging alone", "acts/s", float64(len(lat))/judging.Seconds(), lat)
	return nil
}

// judgeAgain judges each act of a case by what came before it: how long each
// took, -1 for one whose findings are not those in its record.
func judgeAgain(book *rulebook.Book, records []domain.Recorded) []time.Duration {
	procedure, ok := book.Edition(records[0].Procedure(), records[0].Edition)
	if !ok {
		return []time.Duration{-1}
	}
	h := procedure.NewHistory(string(records[0].Subject), records[0].Agency())
	out := make([]time.Duration, len(records))
	for i := range records {
		step := records[i].Step()
		began := time.Now()
		found := procedure.Judge(h, step, rulebook.Known{})
		out[i] = time.Since(began)
		same := slices.EqualFunc(found, records[i].Data.Findings, func(a, b rulebook.Finding) bool {
			return a.Rule == b.Rule && a.Detail == b.Detail && a.Due == b.Due && a.Verdict == b.Verdict
		})
		if !same {
			out[i] = -1
		}
		h = h.Append(step)
	}
	return out
}
