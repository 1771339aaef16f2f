package bagit

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxPath is how long a path in a bag may be, in bytes.
const maxPath = 4096

// unsafe says why a path must not be used at all, whatever the system: a bag
// travels, and what is a harmless name here leads out of the bag there. It is
// "" for one that may.
func unsafe(name string) string {
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxPath:
		return fmt.Sprintf("has more than %d bytes", maxPath)
	case !utf8.ValidString(name):
		return "is not UTF-8"
	case strings.ContainsRune(name, 0):
		return "has a zero byte"
	case strings.HasPrefix(name, "/"):
		return "is absolute"
	case strings.HasPrefix(name, "~"):
		return "begins with ~, which stands for somebody's home"
	case strings.Contains(name, `\`):
		return `has a backslash, which parts folders on some systems`
	case len(name) > 1 && name[1] == ':':
		return "begins with a drive"
	}
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "":
			return "has an empty part"
		case ".", "..":
			return "has a part " + part
		}
	}
	return ""
}

// reserved are names that some systems keep for themselves, with any
// extension.
var reserved = []string{
	"con", "prn", "aux", "nul",
	"com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9",
	"lpt1", "lpt2", "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
}

// systemFiles are made by file managers, and come and go without the bag's
// maker knowing.
var systemFiles = []string{".ds_store", "thumbs.db", "desktop.ini", ".spotlight-v100", ".trashes", "__macosx"}

// portable says why a path would be trouble on another system; "" where it
// would not.
func portable(name string) string {
	for part := range strings.SplitSeq(name, "/") {
		low := strings.ToLower(part)
		stem, _, _ := strings.Cut(low, ".")
		switch {
		case slices.Contains(systemFiles, low):
			return "is a file of a system's own, which comes and goes by itself"
		case slices.Contains(reserved, stem):
			return "has a name that Windows keeps for itself"
		case strings.HasSuffix(part, ".") || strings.HasSuffix(part, " "):
			return "has a part that ends in a dot or a blank, which Windows takes off"
		case strings.ContainsAny(part, `<>:"|?*`) || strings.ContainsFunc(part, func(r rune) bool { return r < ' ' || r == 0x7f }):
			return `has one of < > : " | ? * or a control character`
		}
	}
	return ""
}

// folded is a path without regard to case and to how characters are composed.
func folded(name string) string { return norm.NFC.String(cases.Fold().String(norm.NFC.String(name))) }

// decodeName reads a path of a manifest: line breaks and % are the characters
// that are written as %0A, %0D and %25 (RFC 8493 section 2.1.3). Every other %
// stands for itself. The writer takes none of the three, see wrong.
func decodeName(name string) string {
	if !strings.Contains(name, "%") {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '%' && i+2 < len(name) {
			switch strings.ToLower(name[i : i+3]) {
			case "%0a":
				b.WriteByte('\n')
				i += 2
				continue
			case "%0d":
				b.WriteByte('\r')
				i += 2
				continue
			case "%25":
				b.WriteByte('%')
				i += 2
				continue
			}
		}
		b.WriteByte(name[i])
	}
	return b.String()
}
