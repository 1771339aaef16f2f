package rulebook

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Sizes of the flow chart, in SVG user units.
const (
	flowBox    = 560 // width of a stage
	flowLine   = 24  // height of an act's line
	flowHead   = 38  // height of a stage's title
	flowGap    = 34  // between two stages
	flowMargin = 24
	flowLane   = 18 // between two arrows that run beside the stages
)

// Flow draws a procedure's flow chart as SVG: the stages in their order with
// the acts done in each, and an arrow for every way from one stage to another
// that an act of a stage opens. Acts that are done in any stage stand apart.
// It is what an agency publishes before it acts (国办发〔2018〕118号: 执法流程图).
// lang is zh or en.
func Flow(w io.Writer, p *Procedure, lang string) error {
	f := &flow{p: p, lang: lang}
	f.place()
	_, err := io.WriteString(w, f.draw())
	return err
}

// flow is a chart being drawn.
type flow struct {
	p      *Procedure
	lang   string
	boxes  []flowStage
	arrows []flowArrow
	height int
	out    strings.Builder
}

type flowStage struct {
	title  string
	acts   []*Act
	y, end int
	index  int32 // of the stage; -1: any stage
}

type flowArrow struct{ from, to int } // indexes of boxes

// place decides what stands where.
func (f *flow) place() {
	anywhere := flowStage{title: f.say("任何阶段", "Any stage"), index: -1}
	stages := make([]flowStage, len(f.p.Stages))
	for i := range stages {
		stages[i] = flowStage{title: f.p.Stages[i].Title.In(f.lang), index: int32(i)}
	}
	for _, a := range f.p.Acts {
		switch {
		case len(a.From) > 0:
			for i, in := range a.belongs {
				if in {
					stages[i].acts = append(stages[i].acts, a)
				}
			}
		case a.Opens && a.to >= 0: // it begins the case in that stage
			stages[a.to].acts = append(stages[a.to].acts, a)
		default:
			anywhere.acts = append(anywhere.acts, a)
		}
	}
	f.boxes = stages
	if len(anywhere.acts) > 0 {
		f.boxes = append(f.boxes, anywhere)
	}
	y := flowMargin + 48
	for i := range f.boxes {
		b := &f.boxes[i]
		b.y = y
		b.end = y + flowHead + flowLine*len(b.acts) + 8
		y = b.end + flowGap
	}
	f.height = y
	for from := range f.p.Stages {
		for _, a := range f.p.Acts {
			if a.to >= 0 && len(a.From) > 0 && a.belongs[from] && int(a.to) != from {
				arrow := flowArrow{from, int(a.to)}
				if !slices.Contains(f.arrows, arrow) {
					f.arrows = append(f.arrows, arrow)
				}
			}
		}
	}
}

func (f *flow) draw() string {
	lanes := 0
	for _, a := range f.arrows {
		if a.to != a.from+1 {
			lanes++
		}
	}
	width := 2*flowMargin + flowBox + flowLane*(lanes+1)
	title := f.p.Title.In(f.lang)
	f.print(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" lang="%s" font-family="Noto Sans CJK SC, Source Han Sans SC, Microsoft YaHei, PingFang SC, sans-serif">`, width, f.height, width, f.height, f.say("zh-CN", "en"))
	f.print(`<title>%s</title>`, escaped(f.say(title+"流程图", "Flow chart: "+title)))
	f.print(`<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0 10 5 0 10z" fill="#1f3a5f"/></marker></defs>`)
	f.print(`<rect width="100%%" height="100%%" fill="#fff"/>`)
	f.text(flowMargin, flowMargin+20, 20, "#111", "600", title)
	f.text(flowMargin, flowMargin+40, 12, "#555", "400", f.p.Basis)
	for i := range f.boxes {
		f.box(&f.boxes[i])
	}
	lane := 0
	for _, a := range f.arrows {
		from, to := &f.boxes[a.from], &f.boxes[a.to]
		if a.to == a.from+1 {
			x := flowMargin + flowBox/2
			f.arrow(fmt.Sprintf("M%d %dV%d", x, from.end, to.y))
			continue
		}
		lane++
		right := flowMargin + flowBox
		f.arrow(fmt.Sprintf("M%d %dH%dV%dH%d", right, from.end-10, right+lane*flowLane, to.y+16, right))
	}
	f.print(`</svg>`)
	return f.out.String()
}

func (f *flow) box(b *flowStage) {
	dash := ""
	if b.index < 0 {
		dash = ` stroke-dasharray="6 4"`
	}
	f.print(`<rect x="%d" y="%d" width="%d" height="%d" rx="6" fill="#f4f7fb" stroke="#1f3a5f"%s/>`, flowMargin, b.y, flowBox, b.end-b.y, dash)
	f.text(flowMargin+16, b.y+25, 15, "#1f3a5f", "600", b.title)
	for i, a := range b.acts {
		name := a.Title.In(f.lang)
		if to := a.to; to >= 0 && to != b.index {
			name += " → " + f.p.Stages[to].Title.In(f.lang)
		}
		for _, limit := range f.starts(a) {
			name += f.say("（起算 ", " (starts ") + limit + f.say("）", ")")
		}
		colour, weight := "#333", "400"
		if a.Effect {
			weight = "600"
		}
		f.text(flowMargin+28, b.y+flowHead+flowLine*i+14, 13, colour, weight, f.mark(a)+name)
	}
}

// starts are the limits that an act starts, each once. One that the act itself
// names is told by the name of its field.
func (f *flow) starts(a *Act) []string {
	var out []string
	for _, r := range f.p.starting[f.p.actIndex(a.Name)] {
		limit := r.clock.limit.in(f.lang, f.p.params)
		if field, ok := a.Field(r.clock.limit.field); ok {
			limit = field.Title.In(f.lang)
		}
		if !slices.Contains(out, limit) {
			out = append(out, limit)
		}
	}
	return out
}

// mark tells the acts that begin and end a case from the others.
func (f *flow) mark(a *Act) string {
	switch {
	case a.Opens:
		return "▶ "
	case a.Closes:
		return "■ "
	default:
		return "· "
	}
}

func (f *flow) arrow(path string) {
	f.print(`<path d="%s" fill="none" stroke="#1f3a5f" stroke-width="1.4" marker-end="url(#head)"/>`, path)
}

func (f *flow) text(x, y, size int, colour, weight, text string) {
	f.print(`<text x="%d" y="%d" font-size="%d" fill="%s" font-weight="%s">%s</text>`, x, y, size, colour, weight, escaped(text))
}

func (f *flow) print(format string, args ...any) {
	fmt.Fprintf(&f.out, format+"\n", args...)
}

func (f *flow) say(zh, en string) string { return Text{ZH: zh, EN: en}.In(f.lang) }

func escaped(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder does not fail
	return b.String()
}
