package rulebook

import (
	"fmt"
	"slices"
	"strings"
)

// DiffBooks says in words what is different in another book: the values of
// parameters, procedures and editions that came and went, and for each edition
// that both have what Diff says. A rule that several procedures share is told
// of once.
func DiffBooks(before, after *Book) []Change {
	d := &differ{}
	was, is := before.Parameters(), after.Parameters()
	pairs(was, is, func(p Parameter) string { return p.Name }, func(name string, a, b *Parameter) {
		what, title := "parameter "+name, Text{ZH: "参数 " + name, EN: "parameter " + name}
		if a != nil && b != nil {
			if a.Value != b.Value {
				d.add(what, "changed", Text{
					ZH: fmt.Sprintf("%s：%v → %v", title.ZH, a.Value, b.Value),
					EN: fmt.Sprintf("%s: %v → %v", title.EN, a.Value, b.Value),
				})
			}
			return
		}
		d.one(what, title, a, b)
	})
	key := func(p *Procedure) string { return p.Name + " " + p.Edition.String() }
	pairs(before.procedures, after.procedures, key, func(key string, a, b **Procedure) {
		name, edition, _ := strings.Cut(key, " ")
		if a != nil && b != nil {
			d.changes = append(d.changes, Diff(*a, *b)...)
			return
		}
		d.one("procedure "+key, Text{ZH: fmt.Sprintf("程序 %s（%s 版）", name, edition), EN: fmt.Sprintf("procedure %s in the edition of %s", name, edition)}, a, b)
	})
	seen := make(map[Change]bool, len(d.changes))
	return slices.DeleteFunc(d.changes, func(c Change) bool {
		twice := seen[c]
		seen[c] = true
		return twice
	})
}
