package projections

import (
	"testing"

	"liuhen/domain"
)

func TestTimelineOfOneCase(t *testing.T) {
	o, db := started(t)
	first := o.file("K-1", "沈阳新科技有限公司")
	o.file("K-2", "某某")
	decided := o.act("K-1", "decide", fields{"document_number": "沈科罚〔2025〕1号", "amount": 500000})
	o.act("K-1", "decide", fields{"document_number": "沈科罚〔2025〕2号"}, func(c *domain.Command) {
		c.Corrects, c.Reason = decided.Event, "文号有误"
	})
	o.settle(db)

	list, err := db.Timeline(t.Context(), TimelineFilter{Case: "K-1"}, Page{})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 3 || list.Position != 4 {
		t.Fatalf("timeline of K-1 has %d events at position %d, want 3 at 4", len(list.Items), list.Position)
	}
	if got := list.Items[0]; got.ID != first.Event || got.Digest != first.Digest {
		t.Errorf("first event is %s %s, want %s %s", got.ID, got.Digest, first.Event, first.Digest)
	}
	if got := list.Items[1].CorrectedBy; got != list.Items[2].ID {
		t.Errorf("the decision is corrected by %q, want %q", got, list.Items[2].ID)
	}
	o.agree(db)
}
