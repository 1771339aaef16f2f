package reactions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
	"liuhen/reactions/pubsub"
)

// PublicationTask opens a file of the procedure `publication` for a decision that
// has to be published after it was made (国办发〔2018〕118号; 行政处罚法 48), so that
// the duty stands on the board from the day of the decision and not from the day on
// which somebody thinks of it.
//
// It looks for acts with a duty of publicity (`publicity:` in domain/law) in
// procedures that have no act of their own to publish: where there is one (permits,
// confirmation; penalties too), the limit runs in the case itself, and a second file
// would ask for the same thing twice. Of the others it takes the acts whose fields can
// say what the file needs: a number, a date and a party. What is published
// beforehand (lists, officers, normative documents) has procedures of its own.
//
// A record that does not say all that, though its act could, is set aside: a
// person opens the file. Imported records and corrections open none.
const PublicationTask = "publication-task"

const (
	publication     = "publication"
	receiveDecision = "receive-decision"
)

// kindsOfEnforcement are the procedures whose decisions are published afterwards,
// by the code of decision_kind (domain/law/item-catalogue.yaml).
var kindsOfEnforcement = map[string]string{
	"coercive-measure":     "coercion",
	"compulsory-execution": "coercion",
	"confirmation":         "confirmation",
	"foreign-work-permit":  "permit",
	"inspection":           "inspection",
	"penalty-ordinary":     "penalty",
	"penalty-summary":      "penalty",
	"permit":               "permit",
}

// numbersOfDecisions are the fields that hold the number on the document.
var numbersOfDecisions = []string{"decision_no", "measure_no"}

func publicationTask(desk Desk, book *rulebook.Book, now func() time.Time) Reaction {
	t := &publicationTasks{desk: desk, book: book, now: now}
	return Reaction{
		Name: PublicationTask,
		Says: rulebook.Text{
			ZH: "应当事后公示、本程序又无公示行为的决定一经记录，即立公示案卷",
			EN: "Opens a publication file for a decision that must be published and whose procedure has no act to publish it",
		},
		Begin:      pubsub.AtEnd, // decisions of before have been published, or not, by other means
		Procedures: t.procedures(),
		Wants:      t.wants,
		React:      t.open,
	}
}

type publicationTasks struct {
	desk Desk
	book *rulebook.Book
	now  func() time.Time
}

// procedures are those that have such an act in any edition.
func (t *publicationTasks) procedures() []string {
	names := []string{publication} // never of itself; but an empty list would be all
	for _, p := range t.book.Procedures() {
		if slices.ContainsFunc(p.Acts, func(a *rulebook.Act) bool { return t.concerns(p, a) }) && !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	return names
}

// concerns reports whether an act of a procedure is one to open a file for.
func (t *publicationTasks) concerns(p *rulebook.Procedure, a *rulebook.Act) bool {
	if _, known := kindsOfEnforcement[p.Name]; !known || a.Publicity == nil {
		return false
	}
	if slices.ContainsFunc(p.Acts, func(a *rulebook.Act) bool { return a.Name == "publish-decision" }) {
		return false
	}
	has := func(ok func(f rulebook.Field) bool) bool { return slices.ContainsFunc(a.Fields, ok) }
	return has(func(f rulebook.Field) bool { return slices.Contains(numbersOfDecisions, f.Name) }) &&
		has(func(f rulebook.Field) bool { return f.Name == "decision_date" }) &&
		has(func(f rulebook.Field) bool { return f.Name == "party" && f.Type == "party" && !f.Many })
}

func (t *publicationTasks) wants(r domain.Recorded) bool {
	if r.Data.Import != nil || r.Data.Corrects != "" {
		return false
	}
	p, ok := t.book.Edition(r.Procedure(), r.Edition)
	if !ok {
		return false
	}
	a, ok := p.Act(r.Act())
	return ok && t.concerns(p, a)
}

// open opens the file. The command follows from the record alone, so that it is
// the same each time: the file is opened once.
func (t *publicationTasks) open(ctx context.Context, r domain.Recorded) error {
	fields, err := publicationFields(r)
	if err != nil {
		return Final(err)
	}
	cmd := Caused(domain.Command{
		Case: publicationCase(r), Agency: r.Agency(), Procedure: publication,
		Act: receiveDecision, At: r.Recorded, Fields: fields,
	}, PublicationTask, r, 1)
	if t.now().Sub(r.Recorded) > 24*time.Hour {
		cmd.LateReason = "系统未能及时处理该记录，恢复后补立"
	}
	return record(ctx, t.desk, cmd)
}

// publicationCase is the id of the file: from the case and its revision, where
// that is short enough, else from the event.
func publicationCase(r domain.Recorded) domain.CaseID {
	id := fmt.Sprintf("公示-%s-%d", r.Subject, r.Revision)
	if len(id) > domain.MaxCaseID {
		id = "公示-" + r.ID
	}
	return domain.CaseID(id)
}

// publicationFields takes what receive-decision needs from the record. It states
// nothing that the record does not say.
func publicationFields(r domain.Recorded) (map[string]json.RawMessage, error) {
	text, err := json.Marshal(r.Data.Fields)
	if err != nil {
		return nil, err
	}
	var said struct {
		DecisionNo   string `json:"decision_no"`
		MeasureNo    string `json:"measure_no"`
		DecisionDate string `json:"decision_date"`
		Party        *party `json:"party"`
	}
	if err := json.Unmarshal(text, &said); err != nil {
		return nil, fmt.Errorf("fields of %s: %w", r.Type, err)
	}
	number := said.DecisionNo
	if number == "" {
		number = said.MeasureNo
	}
	var missing []string
	if number == "" {
		missing = append(missing, "决定书文号 decision_no")
	}
	if said.DecisionDate == "" {
		missing = append(missing, "决定书日期 decision_date")
	}
	if said.Party == nil {
		missing = append(missing, "当事人 party")
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("记录未载明 the record does not state: %s；请人工立公示案卷 open the publication file by hand", strings.Join(missing, "、"))
	}
	object, err := said.Party.object()
	if err != nil {
		return nil, err
	}
	fields := map[string]any{
		"decision_no": number, "decision_date": said.DecisionDate, "decision_kind": kindsOfEnforcement[r.Procedure()],
		"source_case": string(r.Subject), "object_kind": object,
	}
	if minor, known := said.Party.minor(said.DecisionDate); known {
		fields["party_is_minor"] = minor
	}
	raw := make(map[string]json.RawMessage, len(fields))
	for name, v := range fields {
		if raw[name], err = json.Marshal(v); err != nil {
			return nil, err
		}
	}
	return raw, nil
}

// party is what this file must know of a party (domain/law/common.yaml).
type party struct {
	Kind  string `json:"kind"`
	USCC  string `json:"uscc"`
	Birth string `json:"birth"`
}

var errObject = errors.New("看不出当事人是单位、个体工商户还是自然人 it cannot be told whether the party is an organisation, a sole trader or a natural person；请人工立公示案卷 open the publication file by hand")

// object is the kind of party that publication asks for. The record knows only
// citizen or entity, and a sole trader is put where the local rule puts it; the
// second character of a credit code tells one: 2 after 9 (GB 32100-2015).
func (p *party) object() (string, error) {
	switch {
	case strings.HasPrefix(p.USCC, "92"):
		return "sole-trader", nil
	case p.Kind == "citizen" && p.USCC == "":
		return "natural", nil
	case p.Kind == "entity" && p.USCC != "":
		return "entity", nil
	}
	return "", errObject
}

// minor reports whether the party was under eighteen on a day, where the day of
// birth is known.
func (p *party) minor(on string) (minor, known bool) {
	birth, err := calendar.ParseDate(p.Birth)
	if err != nil {
		return false, false
	}
	day, err := calendar.ParseDate(on)
	if err != nil {
		return false, false
	}
	return day.Before(birth.AddMonths(18 * 12)), true
}
