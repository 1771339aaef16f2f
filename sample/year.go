package sample

import (
	"bytes"
	"container/heap"
	_ "embed"
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/goccy/go-yaml"

	"liuhen/domain/calendar"
	"liuhen/domain/rulebook"
)

//go:embed year.yaml
var yearText []byte

// A Year is a whole bureau in the year of a real annual report, invented: from
// its acts every number of the report can be counted (figures.go). It follows
// from the options alone: the same give the same acts, to the minute.
type Year struct {
	options YearOptions
	book    *rulebook.Book
	teller  teller
	works   []work

	employers []map[string]any
	planned   []planned // in the order in which the cases began
}

// YearOptions choose a Year.
type YearOptions struct {
	Number int    // 2022, the only one there is
	Seed   uint64 // 1 where nothing else is wanted
	Scale  int    // how many such years in one: 1 is the report's
}

// planned is a case that is still to be told.
type planned struct {
	work  *work
	copy  int // 1, 2 … Scale
	index int // of the copy's cases of the work, from 0
	on    calendar.Date
}

// NewYear returns a year. It fails where there is no such year; a mistake in
// year.yaml is a bug of ours, and an error too.
func NewYear(book *rulebook.Book, o YearOptions) (*Year, error) {
	if o.Number != 2022 {
		return nil, fmt.Errorf("there is no sample of the year %d: 2022 is the year whose report was studied", o.Number)
	}
	if o.Scale < 1 || o.Scale > 1000 {
		return nil, fmt.Errorf("a sample year is multiplied by 1 to 1000, not by %d", o.Scale)
	}
	var told struct {
		People  []Person         `yaml:"people"`
		Stories map[string]Story `yaml:"stories"`
	}
	if err := yaml.NewDecoder(bytes.NewReader(yearText), yaml.Strict()).Decode(&told); err != nil {
		return nil, fmt.Errorf("year.yaml: %w", err)
	}
	for name, s := range told.Stories {
		whole, err := unfold(told.Stories, s)
		if err != nil {
			return nil, fmt.Errorf("year.yaml: story %s: %w", name, err)
		}
		told.Stories[name] = whole
	}
	y := &Year{options: o, book: book, works: works(), employers: employers()}
	staff := Office{People: told.People}
	for i := range officersHeld {
		staff.People = append(staff.People, Person{ID: officerID(i), Name: officerName(i), Role: "officer"})
	}
	y.teller = teller{
		book: book, agency: y.Agency(), batch: y.Batch(), stories: told.Stories, actor: staff.actor,
		officer: func(id string) (rulebook.Officer, error) { return officer(staff.People, id) },
	}
	for i := range y.works {
		y.plan(&y.works[i])
	}
	slices.SortStableFunc(y.planned, func(a, b planned) int { return a.on.Compare(b.on) })
	return y, nil
}

// unfold puts what a story goes on from before its own acts.
func unfold(stories map[string]Story, s Story) (Story, error) {
	if s.After == "" {
		return s, nil
	}
	before, ok := stories[s.After]
	if !ok || before.Procedure != s.Procedure {
		return s, fmt.Errorf("there is no story %q of the same procedure to go on from", s.After)
	}
	before, err := unfold(stories, before)
	return Story{Procedure: s.Procedure, Acts: append(slices.Clone(before.Acts), s.Acts...)}, err
}

// Agency is whose year it is: the office of the sample for the first seed, so
// that the tokens of its people open these cases too, and another bureau for
// each other seed.
func (y *Year) Agency() string {
	if y.options.Seed == 1 {
		return yearAgency
	}
	return fmt.Sprintf("%s-%d", yearAgency, y.options.Seed)
}

// Batch names the sample in each record.
func (y *Year) Batch() string { return fmt.Sprintf("%d-seed-%d", y.options.Number, y.options.Seed) }

// Cases is how many cases there are.
func (y *Year) Cases() int { return len(y.planned) }

// work is the work of a name, which must be there.
func (y *Year) work(name string) *work {
	for i := range y.works {
		if y.works[i].name == name {
			return &y.works[i]
		}
	}
	panic("sample: there is no work " + name)
}

// plan spreads the cases of a work evenly over its days.
func (y *Year) plan(w *work) {
	w.days = workdays(y.book.Calendar(), day(y.options.Number, w.from), day(y.options.Number, w.to))
	copies := y.options.Scale
	if w.once {
		copies = 1
	}
	for k := range copies {
		for i := range w.count {
			y.planned = append(y.planned, w.planned(k+1, i))
		}
	}
}

// planned is one of the work's cases.
func (w *work) planned(copied, index int) planned {
	return planned{work: w, copy: copied, index: index, on: w.days[index*len(w.days)/w.count]}
}

// day reads "03-15" as a day of the year, and "-1 12-24" and "+1 01-03" as one
// of the year before and after.
func day(year int, s string) calendar.Date {
	if len(s) == len("-1 12-24") {
		n, _ := strconv.Atoi(s[:2])
		year, s = year+n, s[3:]
	}
	d, err := calendar.ParseDate(strconv.Itoa(year) + "-" + s)
	if err != nil {
		panic("sample: works: " + err.Error())
	}
	return d
}

// workdays are the working days from a day to another, both included.
func workdays(cal *calendar.Calendar, from, to calendar.Date) []calendar.Date {
	var days []calendar.Date
	for d := from; !d.After(to); d = d.AddDays(1) {
		if cal.IsWorkday(d) {
			days = append(days, d)
		}
	}
	return days
}

// id names a case: 样例2022-延期-0007; of another copy or seed with its number.
func (y *Year) id(w *work, copied, index int) string {
	prefix := "样例" + strconv.Itoa(y.options.Number)
	if y.options.Seed != 1 {
		prefix += fmt.Sprintf("s%d", y.options.Seed)
	}
	if copied > 1 {
		prefix += fmt.Sprintf("k%d", copied)
	}
	return fmt.Sprintf("%s-%s-%0*d", prefix, w.name, w.digits(), index+1)
}

// tell makes the acts of one case.
func (y *Year) tell(p planned) ([]Entry, error) {
	c := Case{
		ID: y.id(p.work, p.copy, p.index), Story: p.work.story, on: p.on,
		Fields: map[string]any{}, Late: map[string]int{}, Set: map[string]Act{},
	}
	h := fnv.New64a()
	h.Write([]byte(c.ID))
	m := &making{Year: y, Case: &c, planned: p, rand: rand.New(rand.NewPCG(y.options.Seed, h.Sum64()))} //nolint:gosec // sample data, the same each time
	c.shift = time.Duration(m.rand.IntN(40)) * time.Minute
	p.work.fill(m)
	for i := range irregularities {
		if irregularities[i].falls(p) {
			irregularities[i].change(m)
		}
	}
	t := y.teller
	if m.told != nil {
		t.stories = map[string]Story{c.Story: *m.told}
	}
	entries, err := t.tell(c)
	if err != nil {
		return nil, fmt.Errorf("case %s: %w", c.ID, err)
	}
	for i := range entries {
		entries[i].ID = commandID(c.ID, strconv.Itoa(i))
		if place := entries[i].CorrectsCommand; place != "" {
			entries[i].CorrectsCommand = commandID(c.ID, place)
		}
	}
	return entries, nil
}

// commandID names an act by its case and its place in it.
func commandID(id, place string) string { return "sample-" + id + "-" + place }

// Entries are the acts of the year, in the order in which they happened; the
// acts of one case stay in their order. Officers come before what they did.
func (y *Year) Entries() iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var row int64
		next := 0
		var open unfinished
		for next < len(y.planned) || len(open) > 0 {
			for next < len(y.planned) && (len(open) == 0 || !y.planned[next].on.After(calendar.DateOf(open[0].at))) {
				entries, err := y.tell(y.planned[next])
				if err != nil {
					yield(Entry{}, err)
					return
				}
				heap.Push(&open, underway{at: entries[0].At, place: next, rest: entries})
				next++
			}
			e := open[0].rest[0]
			row++
			e.Import.Row = row
			if !yield(e, nil) {
				return
			}
			if open[0].rest = open[0].rest[1:]; len(open[0].rest) == 0 {
				heap.Pop(&open)
				continue
			}
			if at := open[0].rest[0].At; at.After(open[0].at) {
				open[0].at = at
			}
			heap.Fix(&open, 0)
		}
	}
}

// underway is a case some of whose acts have been told.
type underway struct {
	at    time.Time // of the next act, and never before an act that was told
	place int       // of the case in the plan
	rest  []Entry
}

// unfinished is a heap: the case with the earliest next act is the first.
type unfinished []underway

func (u unfinished) Len() int      { return len(u) }
func (u unfinished) Swap(i, j int) { u[i], u[j] = u[j], u[i] }
func (u unfinished) Less(i, j int) bool {
	return u[i].at.Before(u[j].at) || u[i].at.Equal(u[j].at) && u[i].place < u[j].place
}
func (u *unfinished) Push(x any) { *u = append(*u, x.(underway)) } //nolint:forcetypeassert // nothing else is pushed
func (u *unfinished) Pop() any {
	old := *u
	last := old[len(old)-1]
	old[len(old)-1] = underway{}
	*u = old[:len(old)-1]
	return last
}

// officer is who acted; what certificate they had, the register says.
func officer(people []Person, id string) (rulebook.Officer, error) {
	for _, p := range people {
		if p.ID == id {
			return rulebook.Officer{ID: p.ID, Name: p.Name}, nil
		}
	}
	return rulebook.Officer{}, fmt.Errorf("there is no person %q", id)
}
