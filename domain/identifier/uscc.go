package identifier

import (
	"errors"
	"strings"
)

// The characters of a unified social credit code, in the order of their values.
const alphabet = "0123456789ABCDEFGHJKLMNPQRTUWXY"

// CheckUSCC checks a unified social credit code (统一社会信用代码, GB 32100-2015):
// 18 characters, of which the first names the registration authority, the
// second the type, six digits the division, nine the organisation code with a
// check character of its own, and the last checks the whole.
//
// The error is an *Error; where both check characters are wrong it joins two.
func CheckUSCC(s string) error {
	wrong := characters(s, func(position int, c rune) bool {
		if position >= 3 && position <= 8 {
			return digit(c)
		}
		return strings.ContainsRune(alphabet, c)
	})
	if wrong != nil {
		return wrong
	}
	var organisation, whole error
	if want := organisationCheck(s[8:16]); s[16] != want {
		organisation = &Error{Fault: OrganisationCheck, Position: 17, Got: rune(s[16]), Want: want}
	}
	if want := usccCheck(s[:17]); s[17] != want {
		whole = &Error{Fault: Check, Position: 18, Got: rune(s[17]), Want: want}
	}
	if organisation != nil && whole != nil {
		return errors.Join(whole, organisation)
	}
	if organisation != nil {
		return organisation
	}
	return whole
}

// usccCheck computes the last character from the first 17: the weights are the
// powers of 3 modulo 31.
func usccCheck(s string) byte {
	sum, weight := 0, 1
	for i := range s {
		sum += strings.IndexByte(alphabet, s[i]) * weight
		weight = weight * 3 % 31
	}
	return alphabet[(31-sum%31)%31]
}

// organisationCheck computes the check character of an organisation code (GB
// 11714) from its first eight characters, letters counting 10 to 35.
func organisationCheck(s string) byte {
	sum := 0
	for i, weight := range [8]int{3, 7, 9, 10, 5, 8, 4, 2} {
		value := int(s[i] - '0')
		if s[i] >= 'A' {
			value = int(s[i]-'A') + 10
		}
		sum += value * weight
	}
	return "0X987654321"[sum%11]
}
