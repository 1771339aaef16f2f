package intake

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"liuhen/domain/calendar"
	"liuhen/domain/law"
	"liuhen/domain/rulebook"
)

// counts reads "Name 12; Other name 3" behind a heading of the data's README.
func counts(t *testing.T, section string) map[string]int {
	t.Helper()
	text, err := os.ReadFile(shared(t, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "### "+section)
	if !ok {
		t.Fatalf("the README has no section %s", section)
	}
	_, rest, ok = strings.Cut(rest, "Events per activity: ")
	if !ok {
		t.Fatalf("the section %s of the README has no counts", section)
	}
	rest, _, _ = strings.Cut(rest, "\n")
	out := make(map[string]int)
	for _, part := range strings.Split(rest, "; ") {
		i := strings.LastIndex(part, " ")
		n, err := strconv.Atoi(part[i+1:])
		if err != nil {
			t.Fatalf("README, %s: %q: %v", section, part, err)
		}
		out[part[:i]] = n
	}
	return out
}

func TestRealLogs(t *testing.T) {
	tests := []struct {
		mapping, file, readme string
		rows, cases           int
		repairs               int
	}{
		// The repairs are payments of one day, whose totals say only their sum.
		{mapping: "traffic-fine-csv", file: "road_traffic_fines_dev.csv.gz", readme: "road_traffic_fines_dev.csv.gz", rows: 374_341, cases: 100_226, repairs: 87},
		{mapping: "traffic-fine-exact-csv", file: "road_traffic_fines_exact_sample_dev.csv.gz", rows: 23_271, cases: 6_694, repairs: 8},
		{mapping: "traffic-fine-xes", file: "road_traffic_fines_100traces.xes.gz", rows: 390, cases: 100},
		{mapping: "traffic-fine-flat-csv", file: "road_traffic_fines_100traces.csv", rows: 390, cases: 100},
		{mapping: "wabo-xes", file: "wabo_receipt_phase.xes.gz", readme: "wabo_receipt_phase.xes.gz", rows: 8_577, cases: 1_434},
		{mapping: "wabo-csv", file: "wabo_receipt_phase.csv.gz", readme: "wabo_receipt_phase.xes.gz", rows: 8_577, cases: 1_434},
		{mapping: "helpdesk-xes", file: "helpdesk.xes.gz", rows: 21_348, cases: 4_580},
		{mapping: "generic-xes", file: "helpdesk.xes.gz", rows: 21_348, cases: 4_580, repairs: 21_348}, // "Case 1" is no case id
		{mapping: "generic-xes", file: "bpic2012.xes.gz", readme: "bpic2012.xes.gz", rows: 262_200, cases: 13_087},
	}
	book, bookErr := rulebook.Load(law.Files)
	for _, tt := range tests {
		t.Run(tt.mapping+"/"+tt.file, func(t *testing.T) {
			if testing.Short() && tt.rows > 50_000 {
				t.Skip("large")
			}
			m := loadMapping(t, tt.mapping)
			if bookErr != nil {
				t.Fatalf("load the law: %v", bookErr)
			}
			procedure, ok := book.InForce(m.Procedure, calendar.MakeDate(2010, 1, 1))
			if !ok {
				t.Fatalf("there is no procedure %s", m.Procedure)
			}
			rows, acts, cases, repairs := 0, make(map[string]int), make(map[string]bool), 0
			_, err := walk(t, m, shared(t, "logs/"+tt.file), Limits{}, false, func(item Item) {
				if item.Refused != "" {
					t.Fatalf("row %d is refused: %s", item.Number, item.Refused)
				}
				rows++
				acts[item.Act]++
				cases[item.Case] = true
				repairs += len(item.Repairs)
				if rows%checkEach != 1 && tt.rows > 50_000 {
					return
				}
				if _, problems := procedure.Check(item.Act, item.Fields); len(problems) > 0 {
					t.Fatalf("row %d: %s %s does not pass the check of %s: %v", item.Number, item.Act, fieldsText(t, item), m.Procedure, problems)
				}
			})
			if err != nil {
				t.Fatalf("read %s: %v", tt.file, err)
			}
			if rows != tt.rows || len(cases) != tt.cases || repairs != tt.repairs {
				t.Errorf("%d rows, %d cases, %d repairs; want %d, %d, %d", rows, len(cases), repairs, tt.rows, tt.cases, tt.repairs)
			}
			if tt.readme == "" {
				return
			}
			want := counts(t, tt.readme)
			for activity, n := range want {
				act := activity
				if name, ok := m.act.names[activity]; ok {
					act = name
				}
				if acts[act] != n {
					t.Errorf("%s: %d rows of %s, the README says %d of %s", tt.file, acts[act], act, n, activity)
				}
			}
			if len(acts) != len(want) {
				t.Errorf("%s: %d acts, the README has %d", tt.file, len(acts), len(want))
			}
		})
	}
}

// checkEach is which rows of a large log are held against its procedure.
const checkEach = 20

// XES and CSV of one log give the same rows, field by field.
func TestXESAndCSVAgree(t *testing.T) {
	for _, tt := range []struct{ xes, xesFile, csv, csvFile string }{
		{"wabo-xes", "wabo_receipt_phase.xes.gz", "wabo-csv", "wabo_receipt_phase.csv.gz"},
		{"traffic-fine-xes", "road_traffic_fines_100traces.xes.gz", "traffic-fine-flat-csv", "road_traffic_fines_100traces.csv"},
	} {
		t.Run(tt.xes, func(t *testing.T) {
			a := byCase(mustRead(t, loadMapping(t, tt.xes), shared(t, "logs/"+tt.xesFile)))
			b := byCase(mustRead(t, loadMapping(t, tt.csv), shared(t, "logs/"+tt.csvFile)))
			if len(a) != len(b) {
				t.Fatalf("%d rows of XES, %d of CSV", len(a), len(b))
			}
			for i := range a {
				_, offsetA := a[i].At.Zone()
				_, offsetB := b[i].At.Zone()
				if a[i].Case != b[i].Case || a[i].Act != b[i].Act || !a[i].At.Equal(b[i].At) || offsetA != offsetB || a[i].Officer != b[i].Officer {
					t.Fatalf("row %d of XES: %+v\nrow %d of CSV: %+v", a[i].Number, a[i].Row, b[i].Number, b[i].Row)
				}
				if fa, fb := fieldsText(t, a[i]), fieldsText(t, b[i]); fa != fb {
					t.Fatalf("row %d of XES: %s\nrow %d of CSV: %s", a[i].Number, fa, b[i].Number, fb)
				}
			}
		})
	}
}

func cents(item Item, field string) (int64, bool) {
	n, err := strconv.ParseInt(string(item.Fields[field]), 10, 64)
	return n, err == nil
}

// What was made of the log without decimal points is held against the exact
// logs: no amount may be invented.
func TestAmountsAreNotInvented(t *testing.T) {
	if testing.Short() {
		t.Skip("reads a large log")
	}
	exact := mustRead(t, loadMapping(t, "traffic-fine-exact-csv"), shared(t, "logs/road_traffic_fines_exact_sample_dev.csv.gz"))
	traces := mustRead(t, loadMapping(t, "traffic-fine-xes"), shared(t, "logs/road_traffic_fines_100traces.xes.gz"))

	rows := make(map[string][]Item) // of the cases that the exact logs have
	for _, item := range append(append([]Item(nil), exact...), traces...) {
		rows[item.Case] = nil
	}
	have, raw := 0, 0
	_, err := walk(t, loadMapping(t, "traffic-fine-csv"), shared(t, "logs/road_traffic_fines_dev.csv.gz"), Limits{}, false, func(item Item) {
		if _, ok := rows[item.Case]; ok {
			rows[item.Case] = append(rows[item.Case], item)
		}
		if item.Act != "create-fine" && item.Act != "add-penalty" {
			return
		}
		if _, ok := cents(item, "amount"); ok {
			have++
		}
		if item.Fields["amount_raw"] != nil {
			raw++
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	compare := func(name string, items []Item) {
		compared, at := map[string]int{}, make(map[string]int)
		for _, want := range items {
			n := at[want.Case]
			at[want.Case]++
			if n >= len(rows[want.Case]) || rows[want.Case][n].Act != want.Act {
				t.Fatalf("%s: case %s, row %d is %s in the exact log and not in the other", name, want.Case, n+1, want.Act)
			}
			got := rows[want.Case][n]
			for _, field := range []string{"amount", "expense", "payment_amount", "total_payment_amount"} {
				have, ok := cents(got, field)
				exact, known := cents(want, field)
				if !ok || !known {
					continue
				}
				compared[field]++
				if have != exact {
					t.Errorf("%s: case %s, %s: %s is %d, in the exact log %d", name, want.Case, want.Act, field, have, exact)
				}
			}
			if _, invented := cents(got, "payment_amount"); invented && got.Act != "payment" {
				t.Errorf("case %s: a payment in %s", got.Case, got.Act)
			}
		}
		t.Logf("%s: amounts compared: %v", name, compared)
		for _, field := range []string{"amount", "expense", "payment_amount", "total_payment_amount"} {
			if compared[field] == 0 {
				t.Errorf("%s: no %s was compared", name, field)
			}
		}
	}
	compare("exact sample", exact)
	compare("100 traces", traces)

	// What is not known is there raw.
	if raw != 100_226+53_255 {
		t.Errorf("%d raw amounts, want one for each of %d", raw, 100_226+53_255)
	}
	t.Logf("amounts known: %d of %d", have, raw)
}

// The digits rule of the mapping, against the codebook that the data's makers
// derived from the whole log.
func TestLostPointAgainstCodebook(t *testing.T) {
	f, err := os.Open(shared(t, "logs/road_traffic_fines_amount_codebook.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	mp := &mapper{m: &Mapping{decimal: '.'}}
	rule := &fieldRule{kind: "money", unit: "euro", lostPoint: true}
	agreed := 0
	for _, row := range rows[1:] {
		n, err := mp.money(rule, row[1])
		if err != nil || row[5] == "" {
			continue
		}
		exact, err := mp.money(&fieldRule{kind: "money", unit: "euro"}, row[5])
		if err != nil || exact != n {
			t.Errorf("%s %s is taken for %d cents, the codebook has %s euro (%s)", row[0], row[1], n, row[5], row[6])
		}
		agreed++
	}
	if agreed < 100 {
		t.Errorf("only %d numbers were compared", agreed)
	}
}

// The commands of a real log are small JSON that the API can take.
func TestCommandJSON(t *testing.T) {
	m := loadMapping(t, "traffic-fine-csv")
	f, err := os.Open(shared(t, "logs/road_traffic_fines_dev.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	head, err := io.ReadAll(io.LimitReader(z, 2000))
	if err != nil {
		t.Fatal(err)
	}
	text := string(head[:strings.LastIndex(string(head), "\n")+1])
	item := mustRead(t, m, write(t, "fines.csv", text))[0]
	data, err := json.Marshal(item.Command(m.Procedure, m.Agency))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"row":1,"case":"A1","agency":"polizia-locale","procedure":"traffic-fine","act":"create-fine","occurred_at":"2006-07-24T00:00:00+02:00",` +
		`"fields":{"amount":3500,"amount_raw":"350","article":"157","dismissal":"NIL","points":0,"total_payment_amount":0,"vehicle_class":"A"},` +
		`"officers":["561"],"command_id":"import-ID"}`
	if got := regexp.MustCompile(`import-[0-9a-f]{32}`).ReplaceAllString(string(data), "import-ID"); got != want {
		t.Errorf("command\n got %s\nwant %s", got, want)
	}
}
