package identifier

import "liuhen/domain/calendar"

// An ID is a checked identity number (公民身份号码, GB 11643-1999): six digits
// for the division where it was first given, eight for the day of birth, three
// for the order of registration, odd for men, and a check character. The
// permanent-residence card of foreigners has numbers of the same form that
// begin with 9.
type ID string

// A Sex is what an identity number says of its holder.
type Sex string

// The two that an identity number can say.
const (
	Male   Sex = "male"
	Female Sex = "female"
)

// ParseID returns s as an ID, or an *Error that says what is wrong with it. It
// does not look at whether the day of birth lies in the future.
func ParseID(s string) (ID, error) {
	wrong := characters(s, func(position int, c rune) bool {
		return digit(c) || position == 18 && c == 'X'
	})
	if wrong != nil {
		return "", wrong
	}
	if _, ok := birth(s); !ok {
		return "", &Error{Fault: BirthDate, Position: 7}
	}
	if want := idCheck(s[:17]); s[17] != want {
		return "", &Error{Fault: Check, Position: 18, Got: rune(s[17]), Want: want}
	}
	return ID(s), nil
}

// CheckID checks an identity number; the error is that of ParseID.
func CheckID(s string) error {
	_, err := ParseID(s)
	return err
}

// Division returns the six digits of the division (GB/T 2260) in which the
// number was given.
func (id ID) Division() string { return string(id[:6]) }

// Birth returns the day of birth.
func (id ID) Birth() calendar.Date {
	d, _ := birth(string(id))
	return d
}

// Sex returns the sex.
func (id ID) Sex() Sex {
	if id[16]%2 == 1 {
		return Male
	}
	return Female
}

func birth(s string) (calendar.Date, bool) {
	d, err := calendar.ParseDate(s[6:10] + "-" + s[10:12] + "-" + s[12:14])
	return d, err == nil
}

// idCheck computes the check character: ISO 7064, MOD 11-2.
func idCheck(s string) byte {
	sum := 0
	for i, weight := range [17]int{7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2} {
		sum += int(s[i]-'0') * weight
	}
	return "10X98765432"[sum%11]
}
