package rulebook

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestShapes(t *testing.T) {
	const (
		seven   = `within: {act: dispose, after: register, limit: 7 working days}`
		ninety  = `within: {act: decide, after: file-case, limit: 90 days, on: dated, pauses: [{from: pause, to: resume}], extended_by: {act: extend, field: by}, ended_by: [drop]}`
		paired  = `within: {act: dispose, after: register, limit: 3 days, each: true, match: {item: item}}`
		before  = `before: {first: notice, then: decide}`
		onlyIf  = `before: {first: notice, then: decide, needed: false}`
		ahead   = `ahead: {act: notice, of: hearing, by: 7 working days, planned: planned}`
		twice   = `count: {act: register, at_most: 2, in: case}`
		pending = "" // nothing found
	)
	for _, tt := range []struct {
		name, shape, history, want string
	}{
		{"within holds on the last day", seven, `{register: 2025-01-24, dispose: 2025-02-10}`, pending},
		{"within is late a day later", seven, `{register: 2025-01-24, dispose: 2025-02-11}`, "2 due 2025-02-10"},
		{"within is late by the hour of the same day not", seven, `{register: 2025-01-24 09:00, dispose: 2025-02-10 23:59}`, pending},
		{"within without a start says nothing", seven, `{dispose: 2025-02-11}`, pending},
		{"within counts from the last start", seven, `[register: 2025-01-24, register: 2025-02-05, dispose: 2025-02-13]`, pending},
		{"what is done is done: a second end is never late", seven, `[register: 2025-01-24, dispose: 2025-01-25, dispose: 2025-06-01]`, pending},
		{"an end recorded before its start", seven, `[dispose: 2025-02-11, register: 2025-01-24]`, "2 due 2025-02-10"},
		{"an end before the start is not its end", seven, `[dispose: 2025-01-20, register: 2025-01-24, dispose: 2025-02-11]`, "3 due 2025-02-10"},
		{"rolling: both dates, only the rolled one breaks", ninety, `{file-case: 2024-09-09, decide: {at: 2024-12-09, dated: 2024-12-09}}`, pending},
		{"the day on the document counts, not that of the act", ninety, `{file-case: 2024-09-09, decide: {at: 2024-12-06, dated: 2024-12-11}}`, "2 due 2024-12-09"},
		{"without the field the act's own day counts", ninety, `{file-case: 2024-09-09, decide: 2024-12-10}`, "2 due 2024-12-09"},
		{"a pause of 30 days", ninety, `{file-case: 2024-09-09, pause: 2024-10-08, resume: 2024-11-07, decide: 2025-01-07}`, pending},
		{"a pause of 30 days and a day more", ninety, `{file-case: 2024-09-09, pause: 2024-10-08, resume: 2024-11-07, decide: 2025-01-08}`, "4 due 2025-01-07"},
		{"a pause still open ends with the act", ninety, `{file-case: 2024-09-09, pause: 2024-10-08, decide: 2025-03-01}`, pending},
		{"a pause that began too late", ninety, `{file-case: 2024-09-09, pause: 2024-12-20, resume: 2025-01-20, decide: 2025-01-21}`, "4 due 2024-12-09"},
		{"an extension", ninety, `{file-case: 2024-09-09, extend: {at: 2024-12-02, by: 30 days}, decide: 2025-01-07}`, pending},
		{"an extension after the limit extends nothing", ninety, `{file-case: 2024-09-09, extend: {at: 2024-12-20, by: 30 days}, decide: 2025-01-07}`, "3 due 2024-12-09"},
		{"two extensions, the second within the first", ninety, `[file-case: 2024-09-09, extend: {at: 2024-12-02, by: 30 days}, extend: {at: 2025-01-06, by: 10 days}, decide: 2025-01-17]`, pending},
		{"ended by another act", ninety, `{file-case: 2024-09-09, drop: 2024-10-01, decide: 2025-06-01}`, pending},
		{"each start has its own clock", paired, `[register: {at: 2025-03-03, item: A}, register: {at: 2025-03-04, item: B}, dispose: {at: 2025-03-05, item: B}, dispose: {at: 2025-03-07, item: A}]`, "4 due 2025-03-06"},
		{"an act without its pair starts nothing else", paired, `[register: {at: 2025-03-03, item: A}, dispose: {at: 2025-03-20, item: B}]`, pending},
		{"a pair by a list", `within: {act: dispose, after: register, limit: 3 days, each: true, match: {item: items}}`,
			`[register: {at: 2025-03-03, items: [A, B]}, dispose: {at: 2025-03-20, item: B}]`, "2 due 2025-03-06"},
		{"when: only some starts count", `within: {act: dispose, after: register, limit: 3 days, when: "start.item == 'A'"}`,
			`[register: {at: 2025-03-03, item: A}, register: {at: 2025-03-10, item: B}, dispose: 2025-03-12]`, "3 due 2025-03-06"},
		{"a limit in hours", `within: {act: dispose, after: register, limit: 24 hours}`,
			`{register: 2025-03-03 09:30, dispose: 2025-03-04 09:31}`, "2 due 2025-03-04"},
		{"a limit in hours holds", `within: {act: dispose, after: register, limit: 24 hours}`, `{register: 2025-03-03 09:30, dispose: 2025-03-04 09:30}`, pending},
		{"hours against a bare day are judged by the day", `within: {act: dispose, after: register, limit: 24 hours}`, `{register: 2025-03-03 09:30, dispose: 2025-03-04}`, pending},
		{"a limit from the start's own field", `within: {act: dispose, after: register, limit: start.limit}`,
			`{register: {at: 2025-03-03, limit: 2 days}, dispose: 2025-03-06}`, "2 due 2025-03-05"},
		{"no limit in the field, no clock", `within: {act: dispose, after: register, limit: start.limit}`, `{register: 2025-03-03, dispose: 2026-03-06}`, pending},
		{"a day that the start names", `within: {act: dispose, after: register, limit: start.on}`, `{register: {at: 2025-03-03, on: 2025-03-08}, dispose: 2025-03-10}`, "2 due 2025-03-08"},
		{"on the day that the start names", `within: {act: dispose, after: register, limit: start.on}`, `{register: {at: 2025-03-03, on: 2025-03-08}, dispose: 2025-03-08}`, pending},
		{"a named day that is past already sets no limit", `within: {act: dispose, after: register, limit: start.on}`, `{register: {at: 2025-03-03, on: 2025-03-01}, dispose: 2025-03-10}`, pending},
		{"a limit by parameter, from a field", `within: {act: dispose, after: register, limit: param.answer, from: on}`,
			`{register: {at: 2025-03-03, on: 2025-03-10}, dispose: 2025-03-18}`, "2 due 2025-03-17"},
		{"no rolling where the rule says so", `within: {act: decide, after: file-case, limit: 90 days, rolls: false}`, `{file-case: 2024-09-09, decide: 2024-12-09}`, "2 due 2024-12-08"},
		{"any of several acts ends it", `within: {act: [dispose, drop], after: [register, file-case], limit: 3 days}`, `{register: 2025-03-03, drop: 2025-03-07}`, "2 due 2025-03-06"},

		{"ahead holds on the last day", ahead, `{notice: 2025-10-10, hearing: 2025-10-20}`, pending},
		{"ahead is late", ahead, `{notice: 2025-10-13, hearing: 2025-10-20}`, "2 due 2025-10-10"},
		{"ahead is missing", ahead, `{hearing: 2025-10-20}`, "1 due 2025-10-10"},
		{"ahead may be missing", `ahead: {act: notice, of: hearing, by: 7 working days, optional: true}`, `{hearing: 2025-10-20}`, pending},
		{"the last notice counts", ahead, `[notice: 2025-09-01, notice: 2025-10-13, hearing: 2025-10-20]`, "3 due 2025-10-10"},
		{"a notice that says for when is judged at once", ahead, `{notice: {at: 2025-10-13, planned: 2025-10-20}}`, "1 due 2025-10-10"},
		{"a notice in time for what it plans", ahead, `{notice: {at: 2025-10-10, planned: 2025-10-20}, hearing: 2025-10-20}`, pending},
		{"ahead by hours", `ahead: {act: notice, of: hearing, by: 24 hours}`, `{notice: 2025-10-13 10:00, hearing: 2025-10-14 09:59}`, "2 due 2025-10-13"},
		{"ahead when", `ahead: {act: notice, of: hearing, by: 3 days, when: act.told}`, `{hearing: 2025-10-20}`, pending},

		{"before holds", before, `{notice: 2025-03-03, decide: 2025-03-04}`, pending},
		{"before on the same day", before, `{notice: 2025-03-03 10:00, decide: 2025-03-03}`, pending},
		{"before by the minute", before, `{notice: 2025-03-03 10:00, decide: 2025-03-03 09:59}`, "2"},
		{"before is missing", before, `{decide: 2025-03-04}`, "1"},
		{"before recorded first but done later", before, `{notice: 2025-03-05, decide: 2025-03-04}`, "2"},
		{"before backwards: recorded and done later", before, `{decide: 2025-03-04, notice: 2025-03-05}`, "1 2"},
		{"before backwards: recorded later, done before", before, `{decide: 2025-03-04, notice: 2025-03-03}`, "1"},
		{"a second one later is no inversion", before, `[notice: 2025-03-01, decide: 2025-03-04, notice: 2025-03-05]`, pending},
		{"only the order counts", onlyIf, `{decide: 2025-03-04}`, pending},
		{"only the order counts, broken forwards", onlyIf, `{notice: 2025-03-05, decide: 2025-03-04}`, "2"},
		{"only the order counts, broken backwards", onlyIf, `{decide: 2025-03-04, notice: 2025-03-05}`, "2"},
		{"unless", `before: {first: notice, then: decide, unless: "case.has('drop')"}`, `{drop: 2025-03-03, decide: 2025-03-04}`, pending},
		{"when", `before: {first: notice, then: decide, when: "has(act.dated)"}`, `{decide: 2025-03-04}`, pending},
		{"when it applies", `before: {first: notice, then: decide, when: "has(act.dated)"}`, `{decide: {at: 2025-03-04, dated: 2025-03-04}}`, "1"},
		{"any of several before", `before: {first: [notice, register], then: effects}`, `{register: 2025-03-03, decide: 2025-03-04}`, pending},
		{"before, paired", `before: {first: register, then: dispose, match: {item: item}}`, `[register: {item: A}, dispose: {item: B}]`, "2"},

		{"count holds", twice, `[register: 2025-03-03, register: 2025-03-04]`, pending},
		{"count is over", twice, `[register: 2025-03-03, register: 2025-03-04, register: 2025-03-05]`, "3"},
		{"count when", `count: {act: register, at_most: 1, in: case, when: "act.item == 'A'"}`,
			`[register: {item: A}, register: {item: B}, register: {item: A}]`, "3"},

		{"require holds", "on: hearing\nrequire: \"!case.officers('inquiry').exists(o, o == act.presider)\"",
			`[register: {officers: [Li, Zhao]}, hearing: {presider: Wang}]`, pending},
		{"require is broken", "on: hearing\nrequire: \"!case.officers('inquiry').exists(o, o == act.presider)\"",
			`[register: {officers: [Li, Zhao]}, hearing: {presider: Li}]`, "2"},
		{"officers of an act by its name", "on: hearing\nrequire: \"case.officers('register') == ['Li', 'Zhao']\"", `[register: {}, register: {}, hearing: {}]`, pending},
		{"on several acts, by what they share", "on: [hearing, dispose]\nrequire: \"act.presider != 'Li'\"", `[dispose: {presider: Li}, hearing: {presider: Wu}]`, "1"},
		{"on any act", "on: any\nrequire: act.recorded - act.at <= duration('24h') || act.late_reason != ''",
			`[file-case: {at: 2025-03-03, recorded: 2025-03-05}, drop: {at: 2025-03-03, recorded: 2025-03-05, late_reason: 山区无信号}]`, "1"},
		{"on effects", "on: effects\nrequire: act.actor == 'Li'", `[register: {actor: Wu}, hearing: {actor: Wu}]`, "2"},
		{"when it does not apply", "on: hearing\nwhen: act.told\nrequire: 'false'", `{hearing: {told: false}}`, pending},
		{"with last", "on: hearing\nwith: {n: last notice}\nrequire: act.day > n.day", `[notice: 2025-03-01, notice: 2025-03-09, hearing: 2025-03-05]`, "3"},
		{"with first", "on: hearing\nwith: {n: first notice}\nrequire: act.day > n.day", `[notice: 2025-03-01, notice: 2025-03-09, hearing: 2025-03-05]`, pending},
		{"with one that is missing: the rule does not apply", "on: hearing\nwith: {n: last notice}\nrequire: 'false'", `{hearing: }`, pending},
		{"with an optional one that is missing", "on: hearing\nwith: {n: last? notice}\nrequire: has_n || n.day == '' && size(n.penalties) == 0 && !has(n.planned)", `{hearing: }`, pending},
		{"with an optional one that is there", "on: hearing\nwith: {n: last? notice}\nrequire: '!has_n'", `[notice: {}, hearing: {}]`, "2"},
		{"with the last of several", "on: hearing\nwith: {n: last notice | drop}\nrequire: n.name == 'drop'", `[drop: {}, notice: {}, hearing: {}]`, "3"},
		{"with all", "on: hearing\nwith: {rs: all register}\nrequire: rs.all(r, r.item != '') && size(rs) == case.count('register')", `[register: {item: A}, register: {item: B}, hearing: {}]`, pending},
		{"records and money", "on: hearing\nwith: {n: last notice}\nrequire: sum(act.penalties.filter(p, p.kind == '21').map(p, p.amount)) <= sum(n.penalties.map(p, p.amount))",
			`[notice: {penalties: [{kind: 21, amount: 10000}, {kind: 11}]}, hearing: {penalties: [{kind: 21, amount: 12000}]}]`, "2"},
		{"a record that is absent", "on: hearing\nrequire: act.main.amount == 0 && !has(act.main) && !has(act.main.amount)", `{hearing: }`, pending},
		{"zero values and has", "on: hearing\nrequire: act.amount == 0 && act.weight == 0.0 && !act.told && !has(act.seen) && act.main.kind == ''", `{hearing: }`, pending},
		{"a time field", "on: hearing\nrequire: day(act.seen) == '2025-03-03' && hours_between(act.seen, act.at) == 24.0", `{hearing: {at: 2025-03-04 09:00, seen: 2025-03-03 09:00}}`, pending},
		{"parameters", "on: hearing\nrequire: act.amount <= param.cap && due(act.day, param.answer) == '2025-03-11' && !param.strict", `{hearing: {at: 2025-03-04, amount: 500}}`, pending},
		{"officers and their certificates", "on: hearing\nrequire: size(act.officers.filter(o, o.valid_from <= act.day && act.day <= o.valid_to && o.certificate != '')) >= act.needs_officers",
			`{hearing: {at: 2026-01-02, officers: [{id: Li, valid_to: 2025-12-31}]}}`, "1"},
		{"the case", "on: hearing\nrequire: case.opened == '2025-03-03' && case.stage == 'clue' && case.has('file-case') && !case.has('drop') && case.count('hearing') == 0",
			`{file-case: 2025-03-03, hearing: 2025-03-04}`, pending},
		{"documents", "on: decide\nrequire: act.documents.exists(d, d.kind == '决定书' && d.number == '1')", `{decide: {documents: [{kind: 决定书, number: '1'}]}}`, pending},
		{"an expression that fails is a finding", "on: hearing\nrequire: due(act.presider, '3 days') != ''", `{hearing: {presider: Li}}`, "1 failed"},
		{"a condition that fails is a finding", "on: hearing\nwhen: act.penalties[0].amount > 0\nrequire: act.told", `{hearing: }`, "1 failed"},
		{"not yet in force", "effective: {from: 2025-03-05}\non: hearing\nrequire: 'false'", `[hearing: 2025-03-04, hearing: 2025-03-05]`, "2"},
		{"no longer in force", "effective: {until: 2025-03-04}\non: hearing\nrequire: 'false'", `[hearing: 2025-03-04, hearing: 2025-03-05]`, "1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, found := tried(t, tt.shape, tt.history)
			if got := strings.Join(found, " "); got != tt.want {
				t.Errorf("%s\n%s\nfound %q, want %q", tt.shape, tt.history, got, tt.want)
			}
		})
	}
}

func TestFunctions(t *testing.T) {
	for _, tt := range []struct{ expr, want string }{
		{`due('2022-09-28', '7 working days')`, "2022-10-12"},
		{`due('2024-09-09', '90 days')`, "2024-12-09"},
		{`due_unrolled('2024-09-09', '90日')`, "2024-12-08"},
		{`latest('2025-10-20', '7 working days')`, "2025-10-10"},
		{`string(days_between('2025-01-01', '2025-03-01'))`, "59"},
		{`string(workdays_between('2025-01-24', '2025-02-10'))`, "7"},
		{`string(years_between('2010-02-28', '2024-02-27'))`, "13"},
		{`string(years_between('2010-02-28', '2024-02-28'))`, "14"},
		{`string(years_between('2012-02-29', '2026-02-28'))`, "13"},
		{`string(hours_between(timestamp('2025-01-01T00:00:00Z'), timestamp('2025-01-01T01:30:00Z')))`, "1.5"},
		{`day(timestamp('2025-01-01T17:00:00Z'))`, "2025-01-02"},
		{`string(valid_uscc('91350100M000100Y43'))`, "true"},
		{`string(valid_uscc('91350100M000100Y44'))`, "false"},
		{`string(valid_id_number('11010519491231002X'))`, "true"},
		{`string(valid_id_number('110105194912310021'))`, "false"},
		{`normal('沈阳 （市） ＡＢ〔2025〕1号')`, "沈阳(市)ab(2025)1号"},
		{`string(sum([1, 2, 3]) + max([4, 9, 2]) + min([5, 3]))`, "18"},
		{`max(['2025-01-02', '2024-12-31'])`, "2025-01-02"},
		{`string(sum(act.penalties.map(p, p.amount))) + max(act.officers.map(o, o.area)) + string(min([0].filter(x, x > 0)))`, "00"},
	} {
		t.Run(tt.expr, func(t *testing.T) {
			_, _, found := tried(t, fmt.Sprintf("on: hearing\nrequire: %q", tt.expr+" == '"+tt.want+"'"), `{hearing: }`)
			if len(found) != 0 {
				t.Errorf("%s is not %s (%v)", tt.expr, tt.want, found)
			}
		})
	}
}

func TestFindingTellsDates(t *testing.T) {
	p, _, _ := tried(t, `within: {act: decide, after: file-case, limit: 90 days, on: dated}
cure: {zh: 补正, en: Put right}
verdict: refuse
detail: {zh: "落款 {act.dated}", en: "dated {act.dated} by {size(act.officers)}"}`, `{file-case: 2024-09-09, decide: {at: 2024-12-11, dated: 2024-12-11}}`)
	steps := p.Rules[0].Examples[0].Steps
	fs := p.Judge(p.NewHistory("C", "A").Append(steps[0]), steps[1], Known{})
	i := slices.IndexFunc(fs, func(f Finding) bool { return f.Rule == "T-001" })
	if i < 0 {
		t.Fatalf("no finding in %+v", fs)
	}
	f := fs[i]
	for _, want := range []string{"落款 2024-12-11", "2024-12-09", "逾期 2 日", "2024-12-08", "逾期 3 日", "立案 2024-09-09"} {
		if !strings.Contains(f.Detail.ZH, want) {
			t.Errorf("the Chinese detail lacks %q: %s", want, f.Detail.ZH)
		}
	}
	for _, want := range []string{"dated 2024-12-11 by 2", "2024-12-09", "2 days late", "2024-12-08", "3 days late", "“File” on 2024-09-09"} {
		if !strings.Contains(f.Detail.EN, want) {
			t.Errorf("the English detail lacks %q: %s", want, f.Detail.EN)
		}
	}
	if f.Verdict != Refuse || f.Cure.EN != "Put right" || !slices.Equal(f.Looked, []string{"1"}) || f.Edition.String() != "2021-07-15" || f.Basis != "试验法 第一条" {
		t.Errorf("the finding is %+v", f)
	}
}

func TestDeadlines(t *testing.T) {
	for _, tt := range []struct{ name, shape, history, want string }{
		{"open", `within: {act: dispose, after: register, limit: 7 working days}`, `{register: 2025-01-24}`, "due 2025-02-10 warn 2025-02-04"},
		{"done", `within: {act: dispose, after: register, limit: 7 working days}`, `{register: 2025-01-24, dispose: 2025-02-08}`, "due 2025-02-10 warn 2025-02-04 done 2025-02-08"},
		{"late", `within: {act: dispose, after: register, limit: 7 working days}`, `{register: 2025-01-24, dispose: 2025-02-11}`, "due 2025-02-10 warn 2025-02-04 done 2025-02-11 late"},
		{"warned a day before at the latest", `within: {act: dispose, after: register, limit: 10 days, warn: 100}`, `{register: 2025-03-03}`, "due 2025-03-13 warn 2025-03-12"},
		{"one day", `within: {act: dispose, after: register, limit: 1 days}`, `{register: 2025-03-03}`, "due 2025-03-04 warn 2025-03-03"},
		{"paused", `within: {act: dispose, after: register, limit: 10 days, pauses: [{from: pause, to: resume}]}`, `{register: 2025-03-03, pause: 2025-03-05}`, "due 2025-03-13 warn 2025-03-10 paused"},
		{"after the pause", `within: {act: dispose, after: register, limit: 10 days, pauses: [{from: pause, to: resume}]}`, `{register: 2025-03-03, pause: 2025-03-05, resume: 2025-03-10}`, "due 2025-03-18 warn 2025-03-13"},
		{"extended", `within: {act: dispose, after: register, limit: 10 days, extended_by: {act: extend, field: by}}`, `{register: 2025-03-03, extend: {by: 5 days}}`, "due 2025-03-18 warn 2025-03-13"},
		{"each", `within: {act: dispose, after: register, limit: 10 days, each: true, match: {item: item}}`,
			`[register: {at: 2025-03-03, item: A}, register: {at: 2025-03-04, item: B}, dispose: {at: 2025-03-05, item: B}]`,
			"due 2025-03-13 warn 2025-03-10; due 2025-03-14 warn 2025-03-11 done 2025-03-05"},
		{"ended by another act", `within: {act: dispose, after: register, limit: 10 days, ended_by: drop}`, `{register: 2025-03-03, drop: 2025-03-05}`, "due 2025-03-13 warn 2025-03-10 done 2025-03-05"},
		{"provisional", `within: {act: dispose, after: register, limit: 10 working days}`, `{register: 2031-01-24}`, "due 2031-02-07 warn 2031-02-02 provisional"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, h, _ := tried(t, tt.shape, tt.history)
			var got []string
			for _, d := range p.Deadlines(h, nil) {
				s := "due " + d.Due.On.String() + " warn " + d.Warn.String()
				if d.Done != "" {
					s += " done " + d.DoneOn.String()
				}
				for word, is := range map[string]bool{" late": d.Late, " paused": d.Paused, " provisional": d.Due.Provisional} {
					if is {
						s += word
					}
				}
				got = append(got, s)
			}
			if s := strings.Join(got, "; "); s != tt.want {
				t.Errorf("%s\n%s\ngot  %q\nwant %q", tt.shape, tt.history, s, tt.want)
			}
		})
	}
}
