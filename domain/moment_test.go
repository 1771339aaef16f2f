package domain_test

import (
	"strings"
	"testing"
	"time"

	"liuhen/domain"
	"liuhen/domain/calendar"
)

func TestParseMoment(t *testing.T) {
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, c := range []struct {
		text, again string
		want        domain.Moment
	}{
		{"now", "now", domain.Moment{By: domain.ByNow}},
		{"position:1", "position:1", domain.Moment{By: domain.ByPosition, Position: 1}},
		{"position:9223372036854775807", "position:9223372036854775807", domain.Moment{By: domain.ByPosition, Position: 1<<63 - 1}},
		{"revision:12", "revision:12", domain.Moment{By: domain.ByRevision, Revision: 12}},
		// A day is the end of it in Shanghai.
		{"recorded:2022-03-01", "recorded:2022-03-01", domain.Moment{By: domain.ByRecorded, Time: at("2022-03-01T15:59:59.999999999Z"), Day: calendar.MakeDate(2022, 3, 1)}},
		{"occurred:2024-02-29", "occurred:2024-02-29", domain.Moment{By: domain.ByOccurred, Time: at("2024-02-29T15:59:59.999999999Z"), Day: calendar.MakeDate(2024, 2, 29)}},
		// A time without a zone is of Shanghai; one with a zone is the same instant.
		{"recorded:2022-03-01T09:00", "recorded:2022-03-01T09:00:00+08:00", domain.Moment{By: domain.ByRecorded, Time: at("2022-03-01T01:00:00Z")}},
		{"recorded:2022-03-01T09:00:05", "recorded:2022-03-01T09:00:05+08:00", domain.Moment{By: domain.ByRecorded, Time: at("2022-03-01T01:00:05Z")}},
		{"occurred:2022-03-01T00:30:00Z", "occurred:2022-03-01T08:30:00+08:00", domain.Moment{By: domain.ByOccurred, Time: at("2022-03-01T00:30:00Z")}},
		{"occurred:2022-03-01T09:00:00.25+08:00", "occurred:2022-03-01T09:00:00.25+08:00", domain.Moment{By: domain.ByOccurred, Time: at("2022-03-01T01:00:00.25Z")}},
	} {
		got, err := domain.ParseMoment(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got.By != c.want.By || got.Position != c.want.Position || got.Revision != c.want.Revision || !got.Time.Equal(c.want.Time) || got.Day != c.want.Day {
			t.Errorf("%s: got %+v, want %+v", c.text, got, c.want)
		}
		if got.String() != c.again {
			t.Errorf("%s is written %s, want %s", c.text, got, c.again)
		}
	}
	for _, bad := range []string{
		"", "yesterday", "now:1", "2022-03-01", "position:", "position:0", "position:-1", "position:+1", "position:01", "position: 1", "position:1.5",
		"position:9223372036854775808", "revision:0", "revision:2147483648", "recorded:", "recorded:2022-02-30", "recorded:2022-3-1",
		"recorded:2022-03-01 09:00", "recorded:2022-03-01T09", "recorded:2022-03-01T09:00:00 08:00", "occurred:now", "Occurred:2022-03-01", "occurred:9999-12-31",
	} {
		if m, err := domain.ParseMoment(bad); err == nil || !strings.Contains(err.Error(), "position:123") {
			t.Errorf("%q: %+v, %v; want an error that says what can be written", bad, m, err)
		}
	}
}

// FuzzParseMoment holds that whatever can be read is written so that it is read
// again as the same.
func FuzzParseMoment(f *testing.F) {
	for _, s := range []string{"now", "position:7", "revision:3", "recorded:2022-03-01", "occurred:2022-03-01T09:00:00+08:00", "recorded:2022-03-01T09:00", "recorded:0001-01-01T00:00:00Z", "occurred:9998-12-31T23:59:59-23:59"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := domain.ParseMoment(s)
		if err != nil {
			return
		}
		again, err := domain.ParseMoment(m.String())
		if err != nil || again.By != m.By || again.Position != m.Position || again.Revision != m.Revision || !again.Time.Equal(m.Time) || again.Day != m.Day {
			t.Errorf("%q is %+v, written %s, and that is %+v, %v", s, m, m, again, err)
		}
	})
}
