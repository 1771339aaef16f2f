package rulebook_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"liuhen/domain/rulebook"
)

// TestRoads finds stages that no case comes to, and those it cannot leave.
func TestRoads(t *testing.T) {
	for name, c := range map[string]struct{ acts, want string }{
		"a road from end to end": {`
  begin: {name: 开始, opens: true, stage: {to: one}}
  go-on: {name: 继续, stage: {from: one, to: two}}
  close: {name: 结束, closes: true, stage: {from: two, to: three}}`, ""},
		"an act of any stage closes": {`
  begin: {name: 开始, opens: true, stage: {to: one}}
  go-on: {name: 继续, stage: {from: one, to: two}}
  last: {name: 最后, stage: {from: two, to: three}}
  close: {name: 结束, closes: true}`, ""},
		"nothing ever closes": {`
  begin: {name: 开始, opens: true, stage: {to: one}}
  go-on: {name: 继续, stage: {from: one, to: two}}
  last: {name: 最后, stage: {from: two, to: three}}`, ""}, // a register has no end
		"a stage that nothing leads to": {`
  begin: {name: 开始, opens: true, stage: {to: one}}
  go-on: {name: 继续, stage: {from: one, to: two}}
  last: {name: 最后, closes: true, stage: {from: three, to: three}}`, `demo.yaml:5:1: procedure demo: stage "three": no act leads to it`},
		"a stage without a way out": {`
  begin: {name: 开始, opens: true, stage: {to: one}}
  stray: {name: 走失, stage: {from: one, to: two}}
  close: {name: 结束, closes: true, stage: {from: one, to: three}}`, `stage "two": no road leads from it`},
	} {
		text := "procedure: demo\nedition: 2024-01-01\nname: 示例\n\nstages: {one: 甲, two: 乙, three: 丙}\nacts:" + c.acts + "\n"
		_, err := rulebook.Load(fstest.MapFS{"demo.yaml": {Data: []byte(text)}})
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}
