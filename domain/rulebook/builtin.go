package rulebook

import (
	"fmt"
	"slices"
	"strings"
)

// What the engine itself asks of every act. These are duties of keeping a
// file, not articles of a law; the procedure says what they mean in it.
var builtIns = map[string]struct {
	severity Severity
	says     Text
}{
	RuleStage:     {Notice, Text{"行为属于案件当前所处的阶段", "The act belongs to the stage the case is in"}},
	RuleOnce:      {Minor, Text{"该行为一案只进行一次", "The act is done once in a case"}},
	RuleOpening:   {Minor, Text{"案件以规定的行为开始", "A case begins with an act that may open it"}},
	RuleDocuments: {Minor, Text{"行为附有规定的文书", "The documents of the act are attached"}},
	RuleBy:        {Major, Text{"行为由有权的角色记录", "The act is recorded by a role that may do so"}},
	RuleRegisters: {Notice, Text{"行为记入有关登记册", "The act is entered into the registers it belongs in"}},
	RuleClosed:    {Minor, Text{"案件结束后只进行规定的行为", "After closing only acts that belong there are done"}},
}

const builtInBasis = "liuhen"

// builtIn judges the engine's own rules, all of them or one.
func (j *judging) builtIn(only *string) {
	a := j.act
	if a == nil {
		return
	}
	do := func(rule string) bool { return only == nil || *only == rule }
	corrects := j.place >= 0
	if !corrects {
		j.placed(do)
	}
	if do(RuleBy) && j.next.Role != "" && !a.anyone() && !slices.Contains(a.By, j.next.Role) {
		j.builtInFinding(RuleBy, Refuse, Text{
			ZH: fmt.Sprintf("「%s」由%s记录，不由 %s", a.Title.ZH, strings.Join(a.By, "、"), j.next.Role),
			EN: fmt.Sprintf("%s is recorded by %s, not by %s", quoted(a.Title), strings.Join(a.By, ", "), j.next.Role),
		}, Text{})
	}
	if do(RuleDocuments) {
		j.documents()
	}
}

// placed judges where the act stands in the case. A correction stands where the
// act that it corrects stood, so it is not asked.
func (j *judging) placed(do func(string) bool) {
	a, h := j.act, j.h
	verdict := Flag
	if a.Effect {
		verdict = Refuse
	}
	if len(h.live.items) == 0 {
		if do(RuleOpening) && !a.Opens {
			var opens Text
			var zh, en []string
			for _, o := range j.p.Acts {
				if o.Opens {
					zh, en = append(zh, "「"+o.Title.ZH+"」"), append(en, quoted(o.Title))
				}
			}
			opens = Text{ZH: "先记录" + strings.Join(zh, "或"), EN: "Record " + strings.Join(en, " or ") + " first"}
			j.builtInFinding(RuleOpening, verdict, Text{
				ZH: fmt.Sprintf("案件不能以「%s」开始", a.Title.ZH),
				EN: fmt.Sprintf("A case cannot begin with %s", quoted(a.Title)),
			}, opens)
		}
		return
	}
	in := len(a.From) == 0 || h.stage < 0 || a.belongs[h.stage]
	switch {
	case h.closed && (len(a.From) == 0 || !in):
		if do(RuleClosed) && !a.Closes {
			j.builtInFinding(RuleClosed, verdict, Text{
				ZH: fmt.Sprintf("案件已结束，「%s」不属于结案后的行为", a.Title.ZH),
				EN: fmt.Sprintf("The case is closed and %s is not an act for after closing", quoted(a.Title)),
			}, Text{})
		}
	case !in && do(RuleStage):
		var zh, en []string
		for i, ok := range a.belongs {
			if ok {
				zh, en = append(zh, "「"+j.p.Stages[i].Title.ZH+"」"), append(en, quoted(j.p.Stages[i].Title))
			}
		}
		now := j.p.Stages[h.stage].Title
		j.builtInFinding(RuleStage, verdict, Text{
			ZH: fmt.Sprintf("案件处于「%s」阶段，「%s」属于%s阶段", now.ZH, a.Title.ZH, strings.Join(zh, "、")),
			EN: fmt.Sprintf("The case is in stage %s; %s belongs to %s", quoted(now), quoted(a.Title), strings.Join(en, ", ")),
		}, Text{})
	}
	if a.Once && do(RuleOnce) && h.last[j.index] >= 0 {
		before := &h.live.items[h.last[j.index]]
		j.looked = append(j.looked[:0], h.Steps[before.step].Event)
		j.builtInFinding(RuleOnce, verdict, Text{
			ZH: fmt.Sprintf("「%s」已于 %s 记录过", a.Title.ZH, before.on),
			EN: fmt.Sprintf("%s is already recorded, on %s", quoted(a.Title), before.on),
		}, Text{ZH: "更正原记录，而不是再记一次", EN: "Correct the first record instead"})
		j.looked = j.looked[:0]
	}
}

func (j *judging) documents() {
	for i := range j.act.Documents {
		d := &j.act.Documents[i]
		if !d.Required || slices.ContainsFunc(j.next.Documents, func(r Reference) bool { return r.Kind == d.Kind }) {
			continue
		}
		name := d.EN
		if name == "" {
			name = d.Kind
		}
		j.builtInFinding(RuleDocuments, Flag, Text{
			ZH: fmt.Sprintf("「%s」未附《%s》", j.act.Title.ZH, d.Kind),
			EN: fmt.Sprintf("%s lacks the document “%s”", quoted(j.act.Title), name),
		}, Text{ZH: "附上该文书", EN: "Attach the document"})
	}
}

func (j *judging) builtInFinding(rule string, v Verdict, detail, cure Text) {
	b := builtIns[rule]
	f := Finding{
		Rule: rule, Edition: j.p.Edition, Severity: b.severity, Verdict: v,
		Says: b.says, Basis: builtInBasis, Detail: detail, Cure: cure,
	}
	if len(j.looked) > 0 {
		f.Looked = slices.Clone(j.looked)
	}
	j.findings = append(j.findings, f)
}
