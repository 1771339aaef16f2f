package identifier

import (
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"liuhen/domain/calendar"

	"pgregory.net/rapid"
)

func TestUSCC(t *testing.T) {
	for _, tt := range []struct{ code, want string }{
		{"91350100M000100Y43", ""}, // the example of the standard
		{"914403001922038216", ""},
		{"91110108795101314G", ""},
		{"91310000MA1K35Y38P", ""},
		{"", "it has 0 characters and not 18"},
		{"91350100M000100Y4", "it has 17 characters and not 18"},
		{"91350100M000100Y4３", "'３' may not stand at position 18"},
		{"91350100M000100Y4\xff", "'�' may not stand at position 18"},
		{"91350100MO00100Y43", "'O' may not stand at position 10 (the digit 0?)"},
		{"91350100m000100Y43", "'m' may not stand at position 9 (write it as a capital)"},
		{"9135010AM000100Y43", "'A' may not stand at position 8"},
		{"91350100M000100Y44", "the check character (position 18) is 4 and should be 3"},
		// Genuine codes of the first months, which fail all the same.
		{"91350211M0000XUF46", "*"},
		{"91350100M0001TGQXM", "*"},
		{"91350203M0001FUE2P", "*"},
	} {
		got := text(CheckUSCC(tt.code))
		if tt.want == "*" && got == "" || tt.want != "*" && got != tt.want {
			t.Errorf("CheckUSCC(%q) = %q, want %q", tt.code, got, tt.want)
		}
	}
}

func TestUSCCSamples(t *testing.T) {
	rows := sharedCSV(t, "codes/uscc_samples_dev.csv")
	for _, row := range rows {
		code, problem := row["uscc"], row["problem"]
		err := CheckUSCC(code)
		if (err == nil) != (row["valid_gb32100"] == "yes") {
			t.Errorf("CheckUSCC(%q) = %v, the sample says valid = %s (%s)", code, err, row["valid_gb32100"], problem)
		}
		if got := asProblem(err); got != problem {
			t.Errorf("CheckUSCC(%q) finds %q, the sample says %q", code, got, problem)
		}
	}
	if len(rows) < 40 {
		t.Errorf("only %d samples were read", len(rows))
	}
}

// asProblem says an error in the words of the samples.
func asProblem(err error) string {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var parts []string
		for _, e := range joined.Unwrap() {
			parts = append(parts, asProblem(e))
		}
		return strings.Join(parts, "; ")
	}
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	switch e.Fault {
	case Check:
		return fmt.Sprintf("check char should be %c", e.Want)
	case OrganisationCheck:
		return fmt.Sprintf("organisation code check should be %c", e.Want)
	}
	return string(e.Fault)
}

func TestID(t *testing.T) {
	for _, tt := range []struct{ number, want string }{
		{"11010519491231002X", ""}, // the examples of the standard
		{"440524188001010014", ""},
		{"11010519491231002x", "'x' may not stand at position 18 (write it as a capital)"},
		{"1101051949123100X2", "'X' may not stand at position 17"},
		{"110105491231002", "it has 15 characters and not 18"},
		{"110105194902310029", "positions 7 to 14 are not a day"},
		{"110105194912310021", "the check character (position 18) is 1 and should be X"},
	} {
		if got := text(CheckID(tt.number)); got != tt.want {
			t.Errorf("CheckID(%q) = %q, want %q", tt.number, got, tt.want)
		}
	}
	for _, tt := range []struct {
		number   string
		birth    calendar.Date
		sex      Sex
		division string
	}{
		{"11010519491231002X", calendar.MakeDate(1949, 12, 31), Female, "110105"},
		{"440524188001010014", calendar.MakeDate(1880, 1, 1), Male, "440524"},
	} {
		id, err := ParseID(tt.number)
		if err != nil || id.Birth() != tt.birth || id.Sex() != tt.sex || id.Division() != tt.division {
			t.Errorf("%s: %v, born %s, %s, in %s; want born %s, %s, in %s",
				tt.number, err, id.Birth(), id.Sex(), id.Division(), tt.birth, tt.sex, tt.division)
		}
	}
}

// One wrong digit and two neighbours that changed places are always noticed:
// that is what the check characters are for.
func TestSlipsAreNoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		day := calendar.MakeDate(1900, 1, 1).AddDays(rapid.IntRange(0, 50000).Draw(t, "day"))
		first := rapid.StringMatching(`[1-9][0-9]{5}`).Draw(t, "division") +
			strings.ReplaceAll(day.String(), "-", "") + rapid.StringMatching(`[0-9]{3}`).Draw(t, "order")
		number := []byte(first + string(idCheck(first)))
		if err := CheckID(string(number)); err != nil {
			t.Fatalf("%s: %v", number, err)
		}
		slip(t, number, "0123456789")
		if err := CheckID(string(number)); err == nil {
			t.Fatalf("%s is taken", number)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.StringMatching(`[159][123][1-6][0-9]{5}[0-9A-HJ-NP-RTUWXY]{8}`).Draw(t, "code")
		first += string(organisationCheck(first[8:16]))
		code := []byte(first + string(usccCheck(first)))
		if err := CheckUSCC(string(code)); err != nil {
			t.Fatalf("%s: %v", code, err)
		}
		slip(t, code, alphabet)
		if err := CheckUSCC(string(code)); err == nil {
			t.Fatalf("%s is taken", code)
		}
	})
}

// slip changes one character of a number, or exchanges two neighbours.
func slip(t *rapid.T, number []byte, characters string) {
	at := rapid.IntRange(0, 16).Draw(t, "at")
	if rapid.Bool().Draw(t, "exchange") && number[at] != number[at+1] {
		number[at], number[at+1] = number[at+1], number[at]
		return
	}
	was := number[at]
	number[at] = rapid.SampledFrom([]byte(characters)).Filter(func(c byte) bool { return c != was }).Draw(t, "now")
}

func FuzzCheckUSCC(f *testing.F) {
	for _, s := range []string{"91350100M000100Y43", "12440300MB2C92173A", "9144030031 1975518G", "\xff", "９１350100M000100Y43"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if CheckUSCC(s) == nil && len(s) != 18 {
			t.Errorf("%q is taken", s)
		}
	})
}

func FuzzCheckID(f *testing.F) {
	for _, s := range []string{"11010519491231002X", "440524188001010014", "110105000000000000", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := ParseID(s)
		if err == nil && (len(s) != 18 || id.Birth().IsZero() || id.Sex() != Male && id.Sex() != Female) {
			t.Errorf("%q is taken: born %s, %s", s, id.Birth(), id.Sex())
		}
	})
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// sharedCSV reads a file of the shared development data beside the module, or
// skips the test where there is none.
func sharedCSV(t testing.TB, name string) []map[string]string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("there is no go.mod above the test")
		}
		dir = filepath.Dir(dir)
	}
	f, err := os.Open(filepath.Join(dir, "..", "shared", "data", name))
	if err != nil {
		t.Skipf("the shared development data is not here: %v", err)
	}
	defer f.Close()
	all, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]string
	for _, cells := range all[1:] {
		row := make(map[string]string)
		for i, cell := range cells {
			row[all[0][i]] = cell
		}
		rows = append(rows, row)
	}
	return rows
}
