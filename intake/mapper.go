package intake

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"liuhen/domain"
)

// Bounds on what a mapper keeps while it goes through a file.
const (
	maxPlans = 10_000    // acts whose plan is kept
	maxTotal = 1_000_000 // cases whose last total is kept for a difference
)

// A mapper makes items of records by a mapping. It is for one goroutine, and
// the records of a file must come to it in order.
type mapper struct {
	m      *Mapping
	cols   *columns
	source string
	file   string
	digest string // of the file
	clock  clock

	caseAt, actAt, timeAt, orderAt, officerAt int // columns; -1: none
	plans                                     map[string]*plan
	totals                                    []*totals // by the place of the rule in m.fields; nil where it is no difference
	digitsAt                                  []int
	events                                    map[string]string // of the trace: event id in the log → command id of its row
	eventsOf                                  int               // the trace
	replacer                                  *strings.Replacer // of case ids; nil: none

	others   []string       // by column: the field that it is kept as, or unkept or unwanted
	otherCol map[string]int // field → column

	// of the item being made
	item Item
	buf  []byte
	why  []string
}

// What becomes of a column that is not kept as a field.
const (
	unkept   = "-" // used or ignored by the mapping
	unwanted = "!" // a row that has it is refused
)

// A plan is what is to be done for the rows of one act.
type plan struct {
	fields    []planned
	leftovers []leftover // columns that no rule takes for this act
	officer   bool
}

type planned struct {
	rule   *fieldRule
	number int // in m.fields
	column int // -1: constant
}

type leftover struct {
	column int
	rule   *fieldRule
}

// totals are the last values of a cumulative column, by case.
type totals struct {
	last map[string]total
	diff int64 // of the row being mapped
	err  error
}

type total struct {
	n   int64
	bad bool // the value could not be read, so the next difference is not known
}

func newMapper(m *Mapping, cols *columns, source string, s *source) (*mapper, error) {
	mp := &mapper{
		m: m, cols: cols, source: source, file: s.name, digest: s.digest,
		plans: make(map[string]*plan), otherCol: make(map[string]int),
		orderAt: -1, officerAt: -1,
	}
	// The columns of an XES log come up as it is read; those that the mapping
	// names are known now.
	mp.caseAt, mp.actAt, mp.timeAt = cols.add(m.caseID.column), cols.add(m.act.column), cols.add(m.time.column)
	if m.order != "" {
		mp.orderAt = cols.add(m.order)
	}
	if m.officer.column != "" {
		mp.officerAt = cols.add(m.officer.column)
	}
	if len(m.caseID.replacing) > 0 {
		mp.replacer = strings.NewReplacer(m.caseID.replacing...)
	}
	for _, c := range m.parts.columns() {
		cols.add(c)
	}
	for i := range m.fields {
		r := &m.fields[i]
		if r.column != "" {
			cols.add(r.column)
		}
		mp.digitsAt = append(mp.digitsAt, -1)
		if r.digits != "" {
			mp.digitsAt[i] = cols.add(r.digits)
		}
		mp.totals = append(mp.totals, nil)
		if r.difference {
			mp.totals[i] = &totals{last: make(map[string]total)}
		}
	}
	return mp, mp.newColumns()
}

// remembers reports whether what becomes of a row depends on rows before it.
func (mp *mapper) remembers() bool {
	return mp.m.parts.event != "" || slices.ContainsFunc(mp.totals, func(t *totals) bool { return t != nil })
}

// newColumns decides what becomes of the columns that are new since the last
// call and that the mapping does not name.
func (mp *mapper) newColumns() error {
	for i := len(mp.others); i < len(mp.cols.names); i++ {
		name := mp.cols.names[i]
		as := unkept
		switch {
		case mp.m.fieldColumn[name] || slices.Contains(mp.m.ignore, name) || mp.m.others == "ignore":
		case mp.m.others == "refuse" && mp.m.Format == "xes":
			as = unwanted // it may come up late in the log
		case mp.m.others == "refuse":
			return fmt.Errorf("the column %q is not in mapping %s; add it to fields or ignore, or set other_columns", name, mp.m.Name)
		default:
			as = snake(name)
			if other, ok := mp.otherCol[as]; ok {
				return fmt.Errorf("the columns %q and %q would both become the field %s; name one of them in the mapping", mp.cols.names[other], name, as)
			}
			if slices.ContainsFunc(mp.m.fields, func(r fieldRule) bool { return r.name == as }) {
				return fmt.Errorf("the column %q would become the field %s, which the mapping fills otherwise; name the column in the mapping", name, as)
			}
			mp.otherCol[as] = i
		}
		mp.others = append(mp.others, as)
	}
	return nil
}

// snake makes a field name of a column's name: lastSent → last_sent,
// case:deadline → case_deadline. Letters of other scripts stay.
func snake(s string) string {
	var b strings.Builder
	low, gap := false, false
	for _, r := range s {
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			if b.Len() == 0 && unicode.IsDigit(r) {
				b.WriteString("f_")
			} else if b.Len() > 0 && (gap || low && unicode.IsUpper(r)) {
				b.WriteByte('_')
			}
			low, gap = unicode.IsLower(r) || unicode.IsDigit(r), false
			b.WriteRune(unicode.ToLower(r))
		default:
			gap = true
		}
	}
	if b.Len() == 0 {
		return "field"
	}
	return b.String()
}

// get is the text of a value without blanks around it; "" where there is none.
func (mp *mapper) get(rec *record, column int) string {
	if column < 0 || column >= len(rec.values) || rec.kinds[column] == absent {
		return ""
	}
	return strings.TrimSpace(rec.values[column])
}

func (mp *mapper) refuse(format string, args ...any) {
	mp.why = append(mp.why, fmt.Sprintf(format, args...))
}

func (mp *mapper) repair(field, from, to, why string) {
	mp.item.Repairs = append(mp.item.Repairs, Repair{Field: field, From: cut(from), To: cut(to), Why: why})
}

// mapRow makes an item of a record.
func (mp *mapper) mapRow(rec *record) (Item, error) {
	if len(mp.others) < len(mp.cols.names) {
		if err := mp.newColumns(); err != nil {
			return Item{}, &FileError{File: mp.file, Line: rec.line, Err: err}
		}
	}
	mp.item = Item{
		Row:       Row{File: mp.file, Number: rec.number, Line: rec.line, Path: rec.path, Order: int(rec.number), Repairs: rec.repairs},
		CommandID: commandID(mp.source, mp.digest, rec.number),
	}
	mp.buf, mp.why = make([]byte, 0, 128), mp.why[:0]
	if rec.refused != "" {
		mp.why = append(mp.why, rec.refused)
		if rec.trace == 0 { // CSV, whose cells are not where they should be; or an event without a trace
			return mp.done(), nil
		}
	}
	mp.mapCase(rec)
	mp.sumUp(rec)
	known := mp.mapAct(rec)
	mp.mapTime(rec)
	if mp.orderAt >= 0 {
		n, err := strconv.Atoi(mp.get(rec, mp.orderAt))
		if err != nil {
			mp.refuse("order: %q of column %s is not a whole number", cut(mp.get(rec, mp.orderAt)), mp.m.order)
		}
		mp.item.Order = n
	}
	if known {
		p := mp.plan(mp.item.Act)
		if p.officer {
			mp.mapOfficer(rec)
		}
		mp.mapFields(rec, p)
		mp.mapParts(rec)
	}
	return mp.done(), nil
}

func (mp *mapper) done() Item {
	mp.item.Refused = strings.Join(mp.why, "; ")
	return mp.item
}

// mapCase makes the case id.
func (mp *mapper) mapCase(rec *record) {
	rule := &mp.m.caseID
	raw := mp.get(rec, mp.caseAt)
	if raw == "" {
		if rule.missing == "refuse" || rec.trace == 0 {
			mp.refuse("case: the column %s is empty", rule.column)
			return
		}
		mp.item.Case = fmt.Sprintf("%strace-%d-%s", rule.prefix, rec.trace, mp.digest[len("sha256:"):][:8])
		mp.repair("case", "", mp.item.Case, "the trace has no name")
		return
	}
	id, why := rule.prefix+raw, ""
	if mp.replacer != nil {
		id = rule.prefix + mp.replacer.Replace(raw)
		for from, to := range rule.replace {
			if strings.Contains(raw, to) {
				why = fmt.Sprintf("has %q, which stands for %q in others", to, from)
			}
		}
	}
	if why == "" {
		why = domain.Token(id)
	}
	if why == "" {
		mp.item.Case = id
		return
	}
	if rule.unfit == "refuse" {
		mp.refuse("case: the case id %q %s", cut(id), why)
		return
	}
	mp.item.Case = fitCase(rule.prefix, raw)
	mp.repair("case", raw, mp.item.Case, "a case id that "+why)
}

// fitCase makes a case id of any text: what of it may stand in one, and a
// digest of the whole, so that different texts give different ids.
func fitCase(prefix, raw string) string {
	sum := sha256.Sum256([]byte(raw))
	tail := "-" + hex.EncodeToString(sum[:6])
	var b strings.Builder
	b.WriteString(prefix)
	gap := false
	for _, r := range raw {
		if domain.Token(string(r)) != "" || r == '-' {
			gap = true
			continue
		}
		if b.Len()+utf8.RuneLen(r)+1+len(tail) > domain.MaxCaseID {
			break
		}
		if gap && b.Len() > len(prefix) {
			b.WriteByte('-')
		}
		gap = false
		b.WriteRune(r)
	}
	return strings.TrimPrefix(b.String()+tail, "-")
}

// mapAct names the act, and reports whether it could.
func (mp *mapper) mapAct(rec *record) bool {
	raw := mp.get(rec, mp.actAt)
	if raw == "" {
		mp.refuse("act: the column %s is empty", mp.m.act.column)
		return false
	}
	act, ok := mp.m.act.names[raw]
	if !ok {
		if mp.m.act.unknown == "refuse" {
			mp.refuse("act: the activity %q is not in the mapping", cut(raw))
			mp.item.Act = cut(raw)
			return false
		}
		act = raw
		if why := unfitAct(act); why != "" {
			mp.refuse("act: the activity %q %s", cut(raw), why)
			return false
		}
	}
	mp.item.Act = act
	return true
}

func (mp *mapper) mapTime(rec *record) {
	raw := mp.get(rec, mp.timeAt)
	if raw == "" {
		mp.refuse("time: the column %s is empty", mp.m.time.column)
		return
	}
	t, odd, err := mp.clock.read(raw, &mp.m.time)
	if err != nil {
		mp.refuse("time: %q %v", cut(raw), err)
		return
	}
	if y := t.Year(); y < 1900 || y > 2200 {
		mp.refuse("time: the year of %q is not within 1900 to 2200", cut(raw))
		return
	}
	if odd != "" {
		mp.repair("time", raw, t.Format(time.RFC3339), odd)
	}
	mp.item.At = t
}

func (mp *mapper) mapOfficer(rec *record) {
	raw := mp.get(rec, mp.officerAt)
	if slices.Contains(mp.m.empty, raw) || slices.Contains(mp.m.officer.empty, raw) || raw == "" {
		return
	}
	if len(raw) > 200 {
		mp.refuse("officer: %q has more than 200 bytes", cut(raw))
		return
	}
	mp.item.Officer = raw
}

// plan says what to do for an act.
func (mp *mapper) plan(act string) *plan {
	if p, ok := mp.plans[act]; ok {
		return p
	}
	if len(mp.plans) >= maxPlans {
		clear(mp.plans)
	}
	p := &plan{officer: mp.officerAt >= 0 && (mp.m.officer.acts == nil || slices.Contains(mp.m.officer.acts, act))}
	taken := make(map[string]bool)
	for i := range mp.m.fields {
		r := &mp.m.fields[i]
		if r.acts != nil && !slices.Contains(r.acts, act) {
			continue
		}
		column := -1
		if r.column != "" {
			column = mp.cols.index[r.column]
			taken[r.column], taken[r.digits] = true, true
		}
		p.fields = append(p.fields, planned{rule: r, number: i, column: column})
	}
	for i := range mp.m.fields {
		r := &mp.m.fields[i]
		if r.column != "" && !taken[r.column] && r.elsewhere != "ignore" {
			taken[r.column] = true
			p.leftovers = append(p.leftovers, leftover{column: mp.cols.index[r.column], rule: r})
		}
	}
	mp.plans[act] = p
	return p
}

// mapFields fills the fields of the act.
func (mp *mapper) mapFields(rec *record, p *plan) {
	mp.item.Fields = make(map[string]json.RawMessage, len(p.fields))
	for _, f := range p.fields {
		if f.column < 0 {
			mp.fill(f, f.rule.value)
			continue
		}
		if !mp.nothing(f.rule, rec, f.column) {
			raw := rec.values[f.column]
			if f.rule.difference {
				mp.difference(f, rec, raw)
			} else {
				mp.fill(f, raw)
			}
		}
	}
	for _, l := range p.leftovers {
		if mp.nothing(l.rule, rec, l.column) {
			continue
		}
		if l.rule.elsewhere == "refuse" {
			mp.refuse("%s: the column %s has %q, which act %s does not take", l.rule.name, l.rule.column, cut(rec.values[l.column]), mp.item.Act)
		} else {
			mp.repair(l.rule.name, rec.values[l.column], "", "left out: the act does not take the column "+l.rule.column)
		}
	}
	mp.keepOthers(rec)
}

// nothing reports whether a value means that there is none.
func (mp *mapper) nothing(rule *fieldRule, rec *record, column int) bool {
	if column >= len(rec.values) || rec.kinds[column] == absent {
		return true
	}
	empty := rule.empty
	if empty == nil {
		empty = mp.m.empty
	}
	return slices.Contains(empty, strings.TrimSpace(rec.values[column]))
}

// fill converts a value and puts it into its field.
func (mp *mapper) fill(f planned, raw string) {
	start := len(mp.buf)
	err := mp.convert(f.rule, raw)
	if err == nil {
		if len(mp.buf) > start {
			mp.put(f.rule.name, start)
		}
		return
	}
	mp.buf = mp.buf[:start]
	mp.bad(f.rule, raw, err.Error())
}

// put makes what was appended to buf since start the value of a field.
func (mp *mapper) put(field string, start int) {
	mp.item.Fields[field] = mp.buf[start:len(mp.buf):len(mp.buf)]
}

func (mp *mapper) bad(rule *fieldRule, raw, why string) {
	switch rule.invalid {
	case "ignore":
		return
	case "drop":
		mp.repair(rule.name, raw, "", "left out: "+why)
		return
	}
	mp.refuse("%s: %q of column %s: %s", rule.name, cut(raw), rule.column, why)
}

// convert appends a value to buf as JSON; nothing where it is dropped with a
// repair.
func (mp *mapper) convert(rule *fieldRule, raw string) error {
	trimmed := strings.TrimSpace(raw)
	switch rule.kind {
	case "text", "code":
		return mp.convertText(rule, raw)
	case "integer", "integer-text":
		n, err := mp.whole(trimmed)
		if err != nil {
			return err
		}
		if rule.kind == "integer" {
			mp.buf = strconv.AppendInt(mp.buf, n, 10)
			break
		}
		mp.buf = append(strconv.AppendInt(append(mp.buf, '"'), n, 10), '"')
	case "money":
		n, err := mp.money(rule, trimmed)
		if err != nil {
			return err
		}
		mp.buf = strconv.AppendInt(mp.buf, n, 10)
	case "number":
		d, err := parseDecimal(trimmed, mp.m.decimal, mp.m.thousands)
		if err != nil {
			return err
		}
		mp.buf = d.append(mp.buf)
	case "boolean":
		switch strings.ToLower(trimmed) {
		case "true", "1":
			mp.buf = append(mp.buf, "true"...)
		case "false", "0":
			mp.buf = append(mp.buf, "false"...)
		default:
			return fmt.Errorf("neither true nor false")
		}
	case "date", "time":
		t, odd, err := mp.clock.read(trimmed, &rule.time)
		if err != nil {
			return err
		}
		if odd != "" {
			mp.repair(rule.name, raw, t.Format(time.RFC3339), odd)
		}
		mp.appendTime(t, rule.kind == "date")
	}
	return nil
}

func (mp *mapper) appendTime(t time.Time, day bool) {
	mp.buf = append(mp.buf, '"')
	if day {
		mp.buf = t.AppendFormat(mp.buf, time.DateOnly)
	} else {
		mp.buf = t.AppendFormat(mp.buf, time.RFC3339Nano)
	}
	mp.buf = append(mp.buf, '"')
}

func (mp *mapper) convertText(rule *fieldRule, raw string) error {
	if rule.codes != nil {
		trimmed := strings.TrimSpace(raw)
		code, ok := rule.codes[trimmed]
		switch {
		case ok:
			raw = code
		case rule.unknown == "keep":
			raw = trimmed
		case rule.unknown == "drop":
			mp.repair(rule.name, raw, "", "left out: the code is not in the mapping")
			return nil
		default:
			return fmt.Errorf("the code is not in the mapping")
		}
	}
	mp.buf = appendText(mp.buf, raw)
	return nil
}

// money reads an amount in the file's unit and gives it in the smallest one.
func (mp *mapper) money(rule *fieldRule, s string) (int64, error) {
	d, err := parseDecimal(s, mp.m.decimal, mp.m.thousands)
	if err != nil {
		return 0, fmt.Errorf("not an amount of money")
	}
	shift := moneyUnits[rule.unit]
	if rule.lostPoint {
		if d.exp != 0 || d.digits%10 != 0 {
			return 0, fmt.Errorf("it is not known where its decimal point was")
		}
		shift--
	}
	n, ok := d.whole(shift)
	if !ok {
		return 0, fmt.Errorf("not a whole number of the smallest unit of money")
	}
	return n, nil
}

// sumUp keeps the totals of the columns that differences are taken of. It
// looks at every row, whatever its act, and even if it is refused.
func (mp *mapper) sumUp(rec *record) {
	for i, t := range mp.totals {
		if t == nil || mp.item.Case == "" {
			continue
		}
		rule := &mp.m.fields[i]
		t.diff, t.err = 0, nil
		column := mp.cols.index[rule.column]
		if mp.nothing(rule, rec, column) {
			continue
		}
		before, seen := t.last[mp.item.Case]
		if !seen && len(t.last) >= maxTotal {
			t.err = fmt.Errorf("the totals of more than %d cases would have to be kept; split the file", maxTotal)
			continue
		}
		now, err := mp.total(rule, mp.get(rec, column))
		switch {
		case err != nil:
			t.err = err
		case before.bad:
			t.err = fmt.Errorf("the total before it is not known")
		case now < before.n:
			t.err = fmt.Errorf("the total is smaller than the one before it")
		}
		t.diff = now - before.n
		if seen || now != 0 || err != nil {
			t.last[mp.item.Case] = total{n: now, bad: err != nil}
		}
	}
}

func (mp *mapper) total(rule *fieldRule, s string) (int64, error) {
	if rule.kind == "money" {
		return mp.money(rule, s)
	}
	return mp.whole(s)
}

func (mp *mapper) whole(s string) (int64, error) {
	d, err := parseDecimal(s, mp.m.decimal, mp.m.thousands)
	if err != nil {
		return 0, err
	}
	n, ok := d.whole(0)
	if !ok {
		return 0, fmt.Errorf("not a whole number")
	}
	return n, nil
}

// difference fills a field with the growth of its column.
func (mp *mapper) difference(f planned, rec *record, raw string) {
	t := mp.totals[f.number]
	if mp.item.Case == "" {
		return // the row is refused
	}
	if t.err != nil {
		mp.bad(f.rule, raw, t.err.Error())
		return
	}
	if at := mp.digitsAt[f.number]; at >= 0 {
		check := mp.get(rec, at)
		if significant(check) != significant(strconv.FormatInt(t.diff, 10)) {
			mp.bad(f.rule, check, fmt.Sprintf("the column %s grew by %d, which has not the digits of %s",
				f.rule.column, t.diff, f.rule.digits))
			return
		}
	}
	start := len(mp.buf)
	mp.buf = strconv.AppendInt(mp.buf, t.diff, 10)
	mp.put(f.rule.name, start)
}

// keepOthers keeps or refuses the columns that the mapping does not name.
func (mp *mapper) keepOthers(rec *record) {
	for i, k := range rec.kinds {
		if k == absent || mp.others[i] == unkept || i >= len(rec.values) || slices.Contains(mp.m.empty, strings.TrimSpace(rec.values[i])) {
			continue
		}
		if mp.others[i] == unwanted {
			mp.refuse("the attribute %s is not in mapping %s; add it to fields or ignore, or set other_columns", mp.cols.names[i], mp.m.Name)
			continue
		}
		start := len(mp.buf)
		if !mp.typed(k, rec.values[i]) {
			mp.buf = appendText(mp.buf[:start], rec.values[i])
			mp.repair(mp.others[i], rec.values[i], rec.values[i], "not of the type that the file gives it; kept as text")
		}
		mp.put(mp.others[i], start)
	}
}

// typed appends a value by the type that the file gives it, and reports
// whether it is of that type.
func (mp *mapper) typed(k kind, s string) bool {
	switch k {
	case dateKind:
		t, ok := parseISO(s)
		if !ok || !t.clock || !t.offset {
			return false
		}
		mp.appendTime(t.in(mp.clock.at(t.secs)), false)
	case intKind:
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return false
		}
		mp.buf = strconv.AppendInt(mp.buf, n, 10)
	case floatKind:
		if len(s) > 40 || s == "" || !json.Valid([]byte(s)) || s[0] != '-' && (s[0] < '0' || s[0] > '9') {
			return false
		}
		mp.buf = append(mp.buf, s...)
	case booleanKind:
		if s != "true" && s != "false" {
			return false
		}
		mp.buf = append(mp.buf, s...)
	default:
		mp.buf = appendText(mp.buf, s)
	}
	return true
}

// append writes a decimal as JSON, with all its digits.
func (d decimal) append(b []byte) []byte {
	if d.digits == 0 {
		return append(b, '0')
	}
	if d.exp >= 0 && d.exp < 20 {
		b = strconv.AppendInt(b, d.digits, 10)
		for range d.exp {
			b = append(b, '0')
		}
		return b
	}
	if d.exp > 0 || d.exp < -30 {
		return append(append(strconv.AppendInt(b, d.digits, 10), 'e'), strconv.Itoa(d.exp)...)
	}
	n := d.digits
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	s := strconv.FormatInt(n, 10)
	point := len(s) + d.exp
	if point <= 0 {
		b = append(b, "0."...)
		for range -point {
			b = append(b, '0')
		}
		return append(b, s...)
	}
	b = append(b, s[:point]...)
	if frac := strings.TrimRight(s[point:], "0"); frac != "" {
		b = append(append(b, '.'), frac...)
	}
	return b
}

// appendText writes text as a JSON string.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return appendRunes(b, s)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func appendRunes(b []byte, s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic("intake: encode text: " + err.Error()) // a string always can be
	}
	return append(b, bytes.TrimSuffix(buf.Bytes(), []byte("\n"))...)
}
