package heads

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naive is the root by the definition in the package's comment, made anew from a
// list of heads.
func naive(keys []Hash, heads map[Hash]Head, from uint16) Hash {
	switch len(keys) {
	case 0:
		return Hash{}
	case 1:
		return leafHash(keys[0], heads[keys[0]])
	}
	for bit := from; ; bit++ {
		var side [2][]Hash
		for _, k := range keys {
			side[at(k, bit)] = append(side[at(k, bit)], k)
		}
		if len(side[0]) > 0 && len(side[1]) > 0 {
			return nodeHash(bit, naive(side[0], heads, bit+1), naive(side[1], heads, bit+1))
		}
	}
}

func TestMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m Map
		want := map[string]Head{}
		for i, n := range rapid.SliceOfN(rapid.IntRange(0, 40), 0, 120).Draw(t, "records") {
			name := fmt.Sprint("C-", n)
			digest := Key(fmt.Sprint("record ", i))
			m.Add(name, digest)
			want[name] = Head{want[name].Count + 1, digest}
		}
		byKey := map[Hash]Head{}
		var keys []Hash
		for name, h := range want {
			byKey[Key(name)] = h
			keys = append(keys, Key(name))
		}
		slices.SortFunc(keys, func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
		root := m.Root()
		if got := naive(keys, byKey, 0); got != root {
			t.Fatalf("the root of %d streams is %x, by the definition %x", len(want), root, got)
		}
		var file bytes.Buffer
		if err := m.Write(&file); err != nil {
			t.Fatal(err)
		}
		again, err := Read(&file)
		if err != nil {
			t.Fatal(err)
		}
		if again.Root() != root || again.Len() != len(want) {
			t.Fatalf("written and read: %d streams under %x, want %d under %x", again.Len(), again.Root(), len(want), root)
		}
		for n := range 60 {
			name := fmt.Sprint("C-", n)
			h, p := again.Prove(name)
			if h != want[name] || h != m.Head(name) {
				t.Fatalf("the head of %s is %v and %v, want %v", name, h, m.Head(name), want[name])
			}
			if err := Verify(root, name, h, p); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	})
}

// TestForged changes every part of a claim and of its proof.
func TestForged(t *testing.T) {
	var m Map
	for i := range 200 {
		m.Add(fmt.Sprint("C-", i%70), Key(fmt.Sprint(i)))
	}
	root := m.Root()
	for _, name := range []string{"C-7", "C-69", "nobody"} {
		h, p := m.Prove(name)
		if err := Verify(root, name, h, p); err != nil {
			t.Fatalf("%s as it is: %v", name, err)
		}
		wrong := func(what string, root Hash, name string, h Head, change func(p *Proof)) {
			t.Helper()
			q := Proof{Steps: slices.Clone(p.Steps)}
			if p.Other != nil {
				o := *p.Other
				q.Other = &o
			}
			change(&q)
			if err := Verify(root, name, h, q); !errors.Is(err, ErrNotProven) {
				t.Errorf("%s, %s: %v, want ErrNotProven", name, what, err)
			}
		}
		same := func(*Proof) {}
		for i := range root {
			other := root
			other[i] ^= 1
			wrong("another root", other, name, h, same)
		}
		wrong("another name", root, name+"x", h, same)
		wrong("one record more", root, name, Head{h.Count + 1, h.Digest}, same)
		wrong("another digest", root, name, Head{h.Count, Key("other")}, same)
		if h.Count > 0 {
			wrong("one record fewer", root, name, Head{h.Count - 1, h.Digest}, same)
			wrong("no such stream", root, name, Head{}, same)
			wrong("another in its place", root, name, Head{}, func(p *Proof) { p.Other = &Other{Key("x"), Head{1, Key("y")}} })
			wrong("itself as another", root, name, Head{}, func(p *Proof) { p.Other = &Other{Key(name), h} })
		} else {
			wrong("nobody at all", root, name, h, func(p *Proof) { p.Other = nil })
			wrong("an empty other", root, name, h, func(p *Proof) { p.Other.Count = 0 })
			wrong("another other", root, name, h, func(p *Proof) { p.Other.Key[31] ^= 1 })
		}
		for i := range p.Steps {
			wrong("a step less", root, name, h, func(p *Proof) { p.Steps = slices.Delete(p.Steps, i, i+1) })
			wrong("a step twice", root, name, h, func(p *Proof) { p.Steps = slices.Insert(p.Steps, i, p.Steps[i]) })
			wrong("another bit", root, name, h, func(p *Proof) { p.Steps[i].Bit++ })
			wrong("a bit that there is not", root, name, h, func(p *Proof) { p.Steps[i].Bit += 300 })
			for b := range 32 {
				wrong("another sibling", root, name, h, func(p *Proof) { p.Steps[i].Sibling[b] ^= 1 })
			}
		}
	}
}

func TestOthersProofOfAbsence(t *testing.T) {
	var m Map
	for i := range 50 {
		m.Add(fmt.Sprint("C-", i), Key(fmt.Sprint(i)))
	}
	// The way to another stream does not show that this one is missing.
	for i := range 50 {
		name := fmt.Sprint("C-", i)
		for j := range 50 {
			if other := fmt.Sprint("C-", j); other != name {
				h, p := m.Prove(other)
				p.Other = &Other{Key(other), h}
				if err := Verify(m.Root(), name, Head{}, p); !errors.Is(err, ErrNotProven) {
					t.Fatalf("%s is there, and %s is shown in its place: %v", name, other, err)
				}
			}
		}
	}
}

func FuzzRead(f *testing.F) {
	var m Map
	for i := range 5 {
		m.Add(fmt.Sprint(i), Key(fmt.Sprint(i)))
	}
	var b bytes.Buffer
	_ = m.Write(&b)
	f.Add(b.Bytes())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := m.Write(&out); err != nil || !bytes.Equal(out.Bytes(), data) {
			t.Fatalf("what was read is written as something else (%v)", err)
		}
	})
}

func BenchmarkAdd(b *testing.B) {
	for _, n := range []int{1_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var m Map
			names := make([]string, n)
			for i := range names {
				names[i] = fmt.Sprint("C-", i)
				m.Add(names[i], Hash{})
			}
			b.ResetTimer()
			for i := range b.N {
				m.Add(names[i*7919%n], Hash{1})
			}
		})
	}
}
