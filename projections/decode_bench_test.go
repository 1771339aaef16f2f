package projections

import "testing"

// BenchmarkPrepare measures reading and folding alone.
func BenchmarkPrepare(b *testing.B) {
	o := bigOffice()
	records, _, _ := o.tape.look()
	db := &DB{law: o.book, book: o.book}
	b.Run("decode", func(b *testing.B) {
		for range b.N {
			for from := 0; from < len(records); from += fillBatch {
				if _, err := decode(records[from:min(len(records), from+fillBatch)]); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(len(records)*b.N)/b.Elapsed().Seconds(), "records/s")
	})
	b.Run("decode and fold", func(b *testing.B) {
		for range b.N {
			f := newFolder(db, o.tape, 1_000_000, All...)
			f.back = true
			for from := 0; from < len(records); from += fillBatch {
				if _, err := f.prepare(b.Context(), records[from:min(len(records), from+fillBatch)], false); err != nil {
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(len(records)*b.N)/b.Elapsed().Seconds(), "records/s")
	})
}
