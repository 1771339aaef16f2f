// Package identifier checks the numbers by which organisations and persons are
// known: their length, their characters and their check characters. It does
// not know whether a number was ever issued.
package identifier

import "fmt"

// A Fault is one thing that can be wrong with a number.
type Fault string

// The faults. Genuine numbers with a wrong check character exist (some
// organisation codes from the first months of the scheme), so OrganisationCheck
// and Check are for a warning that a person can override; the others are slips.
const (
	Length            Fault = "length"
	Alphabet          Fault = "alphabet"           // a character that may not stand there; lower case may not
	BirthDate         Fault = "birth date"         // no such day
	OrganisationCheck Fault = "organisation check" // the organisation code within has a wrong check character
	Check             Fault = "check"              // the last character is wrong
)

// An Error says what is wrong with a number and, where it can be computed,
// what should stand there. It does not repeat the number, which may be private.
type Error struct {
	Fault    Fault
	Position int  // of the character, from 1; 0 where the fault is not in one
	Got      rune // the character that stands there, where there is one
	Want     byte // for the two checks: the character that belongs there
	Length   int  // for Length: how many characters there are
}

func (e *Error) Error() string {
	switch e.Fault {
	case Length:
		return fmt.Sprintf("it has %d characters and not 18", e.Length)
	case Alphabet:
		return fmt.Sprintf("%q may not stand at position %d%s", e.Got, e.Position, hint(e.Got))
	case BirthDate:
		return "positions 7 to 14 are not a day"
	case OrganisationCheck:
		return fmt.Sprintf("the check character of the organisation code (position 17) is %c and should be %c", e.Got, e.Want)
	case Check:
		return fmt.Sprintf("the check character (position 18) is %c and should be %c", e.Got, e.Want)
	}
	return string(e.Fault)
}

// hint names the slip that was probably made.
func hint(c rune) string {
	switch {
	case c == 'O':
		return " (the digit 0?)"
	case c == 'I':
		return " (the digit 1?)"
	case c >= 'a' && c <= 'z':
		return " (write it as a capital)"
	}
	return ""
}

// characters checks the length of a number and the place of each character.
func characters(s string, may func(position int, c rune) bool) *Error {
	n := 0
	for range s {
		n++
	}
	if n != 18 {
		return &Error{Fault: Length, Length: n}
	}
	position := 0
	for _, c := range s {
		if position++; !may(position, c) {
			return &Error{Fault: Alphabet, Position: position, Got: c}
		}
	}
	return nil
}

func digit(c rune) bool { return c >= '0' && c <= '9' }
