package projections

import (
	"slices"
	"strings"
	"unicode"

	"github.com/jackc/pgx/v5/pgtype"
	"golang.org/x/text/unicode/norm"
)

// Chinese is written without spaces, and most of its words have two
// characters. So what can be searched is stored as the set of its pairs of
// adjacent characters, and a search asks for all pairs of the words given; a
// comparison with the text itself then takes out what has the pairs, but not
// in a row. Needs no dictionary and no extension of the database.

// beginning stands before the first character of a text in its first pair, so
// that one character alone finds what begins with it.
const beginning = "^"

// normal brings a text into the form in which it is searched: full-width
// and half-width forms alike (NFKC), every bracket round, lower case, no space.
func normal(s string) string {
	s = norm.NFKC.String(s)
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c), unicode.IsControl(c), c == '^':
			return -1
		case strings.ContainsRune("[〔【〖{〈《", c):
			return '('
		case strings.ContainsRune("]〕】〗}〉》", c):
			return ')'
		}
		return unicode.ToLower(c)
	}, s)
}

// searchable is the text that a search is compared with: each of the texts,
// normalised, on a line of its own.
func searchable(texts ...string) string {
	var lines []string
	for _, t := range texts {
		if n := normal(t); n != "" && !slices.Contains(lines, n) {
			lines = append(lines, n)
		}
	}
	return strings.Join(lines, "\n")
}

// pairs are the adjacent characters of each line, sorted, each once.
func pairs(texts ...string) []string {
	var out []string
	var at []int // where each character of a line begins, and the line ends
	for _, text := range texts {
		for line := range strings.SplitSeq(text, "\n") {
			at = at[:0]
			for i := range line {
				at = append(at, i)
			}
			at = append(at, len(line))
			for i := 1; i < len(at); i++ {
				if i == 1 {
					out = append(out, beginning+line[:at[1]])
				} else {
					out = append(out, line[at[i-2]:at[i]])
				}
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// vector is pairs as a tsvector.
func vector(texts ...string) pgtype.TSVector {
	words := pairs(texts...)
	v := pgtype.TSVector{Lexemes: make([]pgtype.TSVectorLexeme, len(words)), Valid: true}
	for i, w := range words {
		v.Lexemes[i].Word = w
	}
	return v
}

// search asks for rows in which each word of a query stands: in a column of
// pairs, and in one of columns of searchable text. whole says that the pairs
// are those of just these columns: then a word of one pair needs no look at
// the text, about which the planner guesses badly.
func (w *where) search(pairsColumn, query string, whole bool, columns ...string) {
	for word := range strings.FieldsSeq(query) {
		word = normal(word)
		runes := []rune(word)
		if len(runes) == 0 {
			continue // nothing but controls: it cannot be asked for
		}
		if len(runes) == 1 { // what begins with it
			w.add(pairsColumn+" @@ ?::text::tsquery", term(beginning+word))
			if !whole {
				word = likeEscape.Replace(word)
				w.anyLike(columns, word+"%", "%\n"+word+"%")
			}
			continue
		}
		terms := make([]string, len(runes)-1)
		for i := range terms {
			terms[i] = term(string(runes[i : i+2]))
		}
		w.add(pairsColumn+" @@ ?::text::tsquery", strings.Join(terms, " & "))
		if !whole || len(runes) > 2 {
			w.anyLike(columns, "%"+likeEscape.Replace(word)+"%")
		}
	}
}

// anyLike asks for one of the columns to be like one of the patterns.
func (w *where) anyLike(columns []string, patterns ...string) {
	var parts []string
	var args []any
	for _, c := range columns {
		for _, p := range patterns {
			parts = append(parts, c+" like ?")
			args = append(args, p)
		}
	}
	w.add("("+strings.Join(parts, " or ")+")", args...)
}

var likeEscape = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// term quotes a lexeme for a tsquery.
func term(lexeme string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(lexeme) + "'"
}
