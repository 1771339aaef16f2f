package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"liuhen/domain"
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
			again, err := domain.Rejudge(book, domain.Then{}, &records[0])
			if err != nil {
				return err
			}
			for i := range records {
				start := time.Now()
				found, err := again.Next(&records[i], nil)
				took := time.Since(start)
				if err != nil {
					return err
				}
				if !domain.SameFindings(found, records[i].Data.Findings) {
					return fmt.Errorf("case %s: judged again %s has other findings", records[i].Subject, records[i].Act())
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
