package intake

import (
	"strings"
	"testing"
	"time"
)

func TestDecimal(t *testing.T) {
	tests := []struct {
		in                string
		point, thousands  byte
		shift             int
		want              int64
		notANumber, inner bool // not a number; a number, but not whole after the shift
	}{
		{in: "35.0", point: '.', shift: 2, want: 3500},
		{in: "49.25", point: '.', shift: 2, want: 4925},
		{in: "49.255", point: '.', shift: 2, inner: true},
		{in: "-0.01", point: '.', shift: 2, want: -1},
		{in: "0.000", point: '.', want: 0},
		{in: "157.0", point: '.', want: 157},
		{in: "1.5e2", point: '.', want: 150},
		{in: "2.3832541524E7", point: '.', shift: 3, want: 23832541524},
		{in: "1.234,50", point: ',', thousands: '.', shift: 2, want: 123450},
		{in: "1,234,567", point: '.', thousands: ',', want: 1234567},
		{in: "12,34", point: '.', thousands: ',', notANumber: true},
		{in: ",123", point: '.', thousands: ',', notANumber: true},
		{in: "1,2345", point: '.', thousands: ',', notANumber: true},
		{in: "1.0.0", point: '.', notANumber: true},
		{in: "", point: '.', notANumber: true},
		{in: "-", point: '.', notANumber: true},
		{in: ".", point: '.', notANumber: true},
		{in: "12 ", point: '.', notANumber: true},
		{in: "1e", point: '.', notANumber: true},
		{in: "NaN", point: '.', notANumber: true},
		{in: "99999999999999999999", point: '.', notANumber: true},
		{in: "9223372036854775", point: '.', shift: 4, inner: true},
	}
	for _, tt := range tests {
		d, err := parseDecimal(tt.in, tt.point, tt.thousands)
		if (err != nil) != tt.notANumber {
			t.Errorf("parse %q: %v, want not a number: %v", tt.in, err, tt.notANumber)
			continue
		}
		if err != nil {
			continue
		}
		n, ok := d.whole(tt.shift)
		if ok == tt.inner || n != tt.want {
			t.Errorf("%q × 10^%d = %d, whole %v; want %d, %v", tt.in, tt.shift, n, ok, tt.want, !tt.inner)
		}
	}
}

func TestDecimalAsJSON(t *testing.T) {
	for in, want := range map[string]string{
		"12.340": "12.34", "-0.5": "-0.5", "007": "7", "0.0": "0", "1e3": "1000", "1e-3": "0.001", "5.00": "5", "1e300": "1e300", "-12": "-12",
	} {
		d, err := parseDecimal(in, '.', 0)
		if err != nil {
			t.Fatalf("parse %q: %v", in, err)
		}
		if got := string(d.append(nil)); got != want {
			t.Errorf("%q as JSON is %s, want %s", in, got, want)
		}
	}
}

func TestReadTimes(t *testing.T) {
	rome, err := parseZone("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	east, err := parseZone("+08:00")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		in     string
		layout string
		zone   *time.Location
		want   string // RFC 3339; empty: an error
		odd    string
	}{
		{in: "2006-07-24", layout: "date", zone: rome, want: "2006-07-24T00:00:00+02:00"},
		{in: "2006-12-05", layout: "date", zone: rome, want: "2006-12-05T00:00:00+01:00"},
		{in: "2006-02-29", layout: "date", zone: rome},
		{in: "2004-02-29", layout: "date", zone: rome, want: "2004-02-29T00:00:00+01:00"},
		{in: "2006-07-24 10:00", layout: "date", zone: rome},
		{in: "2006-07-24", layout: "datetime", zone: rome},
		{in: "2024-03-04 09:15:00", layout: "datetime", zone: east, want: "2024-03-04T09:15:00+08:00"},
		{in: "2024-03-04T09:15", layout: "datetime", zone: east, want: "2024-03-04T09:15:00+08:00"},
		{in: "2024-03-04T24:15", layout: "datetime", zone: east},
		{in: "2011-10-11 13:45:40.276000+02:00", layout: "rfc3339", want: "2011-10-11T13:45:40.276+02:00"},
		{in: "2011-10-11T13:45:40.276+0200", layout: "rfc3339", want: "2011-10-11T13:45:40.276+02:00"},
		{in: "2011-10-11T13:45:40Z", layout: "rfc3339", want: "2011-10-11T13:45:40Z"},
		{in: "2011-10-11T13:45:40", layout: "rfc3339"},
		{in: "2011-10-11T13:45:40.+02:00", layout: "rfc3339"},
		{in: "2002-0530T09:30:10Z", layout: "rfc3339"},
		{in: "2011-10-11T13:45:40+99:00", layout: "rfc3339"},
		{in: "1318333540", layout: "unix", want: "2011-10-11T11:45:40Z"},
		{in: "1318333540276", layout: "unix-ms", want: "2011-10-11T11:45:40.276Z"},
		{in: "24.12.2011 8:05", layout: "02.01.2006 15:04", zone: rome, want: "2011-12-24T08:05:00+01:00"},
		{in: "2022年9月28日", layout: "2006年1月2日", zone: east, want: "2022-09-28T00:00:00+08:00"},
		{in: "11/Oct/2011:13:45:40 +0200", layout: "02/Jan/2006:15:04:05 -0700", want: "2011-10-11T13:45:40+02:00"},
		{in: "2011-03-27 02:30:00", layout: "datetime", zone: rome, want: "2011-03-27T03:30:00+02:00", odd: "does not exist"},
		{in: "2011-10-30 02:30:00", layout: "datetime", zone: rome, want: "2011-10-30T02:30:00+02:00", odd: "occurs twice"},
		{in: "2011-10-30", layout: "date", zone: rome, want: "2011-10-30T00:00:00+02:00"},
		{in: "2011-10-30 12:00:00", layout: "datetime", zone: rome, want: "2011-10-30T12:00:00+01:00"},
	}
	var c clock
	for _, tt := range tests {
		got, odd, err := c.read(tt.in, &timeRule{layouts: []string{tt.layout}, zone: tt.zone})
		if (err != nil) != (tt.want == "") {
			t.Errorf("%q as %s: %v, want %q", tt.in, tt.layout, err, tt.want)
			continue
		}
		if err == nil && got.Format(time.RFC3339Nano) != tt.want {
			t.Errorf("%q as %s = %s, want %s", tt.in, tt.layout, got.Format(time.RFC3339Nano), tt.want)
		}
		if !strings.Contains(odd, tt.odd) || (odd == "") != (tt.odd == "") {
			t.Errorf("%q as %s: doubt %q, want %q", tt.in, tt.layout, odd, tt.odd)
		}
	}
}

func TestSnake(t *testing.T) {
	for in, want := range map[string]string{
		"lastSent": "last_sent", "case:deadline": "case_deadline", "seriousness_2": "seriousness_2", "lifecycle:transition": "lifecycle_transition",
		"(case)_amount": "case_amount", "申请人": "申请人", "AMOUNT_REQ": "amount_req", "2nd": "f_2nd", "::": "field", "papers/1/paper": "papers_1_paper",
	} {
		if got := snake(in); got != want {
			t.Errorf("field of column %q = %q, want %q", in, got, want)
		}
	}
}

func TestFitCase(t *testing.T) {
	seen := make(map[string]string)
	for _, raw := range []string{"B 7/3", "B 7 3", "B-7-3", "B/7/3", "", "\x00", strings.Repeat("证", 300), strings.Repeat("证", 301), "a.b", "a*b"} {
		id := fitCase("p-", raw)
		if other, ok := seen[id]; ok {
			t.Errorf("case ids %q and %q both become %s", other, raw, id)
		}
		seen[id] = raw
		if len(id) > 64 || !strings.HasPrefix(id, "p-") {
			t.Errorf("case id %q becomes %q, want at most 64 bytes with the prefix", raw, id)
		}
	}
}
