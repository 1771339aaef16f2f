package intake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCSV reads and maps a CSV log in one goroutine, to items ready for
// the sink. Run it with -cpu 1 for what one core does.
func BenchmarkCSV(b *testing.B) {
	path := filepath.Join(b.TempDir(), "fines.csv")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Fprintln(f, "case_id,activity,lifecycle,resource,timestamp,amount,article,dismissal,expense,lastsent,matricola,notificationtype,paymentamount,points,totalpaymentamount,vehicleclass,activity_instance_id,.order")
	const cases = 25_000
	for i := range cases {
		fmt.Fprintf(f, "B%d,Create Fine,complete,%d,2006-07-24,350,157,NIL,,,,,,0,0.0,A,%d,%[3]d\n", i, i%140, 4*i+1)
		fmt.Fprintf(f, "B%d,Send Fine,complete,,2006-12-05,,,,110,,,,,,,,%d,%[2]d\n", i, 4*i+2)
		fmt.Fprintf(f, "B%d,Insert Fine Notification,complete,,2007-01-15,,,,,P,,P,,,,,%d,%[2]d\n", i, 4*i+3)
		fmt.Fprintf(f, "B%d,Payment,complete,,2007-03-16,,,,,,,,460,,46.0,,%d,%[2]d\n", i, 4*i+4)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	benchmarkRead(b, path, "traffic-fine-csv", 4*cases)
}

// BenchmarkXES does the same for XES.
func BenchmarkXES(b *testing.B) {
	path := filepath.Join(b.TempDir(), "log.xes")
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	const traces, events = 2_500, 8
	fmt.Fprintln(f, `<log xes.version="1.0">`)
	for i := range traces {
		fmt.Fprintf(f, "<trace>\n\t<string key=\"concept:name\" value=\"t-%d\"/>\n", i)
		for e := range events {
			fmt.Fprintf(f, "\t<event>\n\t\t<string key=\"concept:name\" value=\"step %d\"/>\n\t\t<string key=\"org:resource\" value=\"r%d\"/>\n"+
				"\t\t<date key=\"time:timestamp\" value=\"2011-10-1%[1]dT13:45:40.276+02:00\"/>\n\t\t<string key=\"lifecycle:transition\" value=\"complete\"/>\n\t</event>\n", e, i%50)
		}
		fmt.Fprintln(f, "</trace>")
	}
	fmt.Fprintln(f, "</log>")
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	benchmarkRead(b, path, "generic-xes", traces*events)
}

func benchmarkRead(b *testing.B, path, mapping string, want int) {
	m, err := LoadMapping(mapping)
	if err != nil {
		b.Fatal(err)
	}
	s, err := openSource(context.Background(), path, Limits{}.orDefault())
	if err != nil {
		b.Fatal(err)
	}
	defer s.close()
	b.SetBytes(s.size)
	b.ReportAllocs()
	before := cpuSeconds(b)
	for b.Loop() {
		st, err := openStream(s, m, "bench", false)
		if err != nil {
			b.Fatal(err)
		}
		rows := 0
		for {
			item, err := st.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || item.Refused != "" {
				b.Fatal(err, item.Refused)
			}
			rows++
		}
		if rows != want {
			b.Fatalf("read %d rows, want %d", rows, want)
		}
	}
	b.ReportMetric(float64(want*b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(want*b.N)/(cpuSeconds(b)-before), "rows/cpu-s")
}

// cpuSeconds is what this process has used, garbage collection included; on a
// busy machine it says more than the clock.
func cpuSeconds(b *testing.B) float64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()).Seconds()
}
