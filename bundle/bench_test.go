package bundle

import (
	"fmt"
	"slices"
	"testing"

	"liuhen/domain"
)

// BenchmarkCheck checks a case of a thousand events that stands among others, in
// its bundle. The law is read already, as it is once the program has started.
//
//	go test -bench Check ./bundle
func BenchmarkCheck(b *testing.B) {
	o := newOffice(b)
	acts := []string{"file-case"}
	for range 99 {
		acts = append(acts, "inspect")
	}
	for i := range 10 {
		if i > 0 {
			acts = slices.Repeat([]string{"inspect"}, 100)
		}
		o.act("C-1", acts...)
		o.act("C-2", acts...)
		for j := range 20 {
			o.act(domain.CaseID(fmt.Sprint("D-", i*20+j)), "file-case")
		}
	}
	data := o.bundle("C-1")
	b.Logf("%d bytes", len(data))
	for name, opts := range map[string]Options{"records": {Key: o.key()}, "records and page": options(o.key())} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				isProven(b, check(b, data, opts))
			}
		})
	}
}

// BenchmarkWrite writes the same bundle.
func BenchmarkWrite(b *testing.B) {
	o := newOffice(b)
	o.act("C-1", slices.Repeat([]string{"inspect"}, 1000)...)
	c := o.contents(o.collect("C-1"))
	for b.Loop() {
		o.write(c)
	}
}
