package main

import (
	"bufio"
	"encoding/json"
	"io"
	"strings"

	"github.com/rivo/uniseg"
)

// A table is printed in columns that line up in a terminal, where a Chinese
// character is two cells wide.
type table struct {
	head  []string
	right []int // columns whose cells stand at the right: numbers
	rows  []row
}

type row struct {
	cells []string
	notes []string // lines below the row
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, row{cells: cells}) }

// note adds a line below the last row.
func (t *table) note(line string) {
	last := &t.rows[len(t.rows)-1]
	last.notes = append(last.notes, line)
}

func (t *table) write(out io.Writer) error {
	widths := make([]int, len(t.head))
	for i, cell := range t.head {
		widths[i] = width(cell)
	}
	for _, r := range t.rows {
		for i, cell := range r.cells {
			widths[i] = max(widths[i], width(printable(cell)))
		}
	}
	w := bufio.NewWriter(out)
	t.line(w, t.head, widths)
	for _, r := range t.rows {
		t.line(w, r.cells, widths)
		for _, note := range r.notes {
			w.WriteString("    " + printable(note) + "\n")
		}
	}
	return w.Flush()
}

func (t *table) line(w *bufio.Writer, cells []string, widths []int) {
	var b strings.Builder
	for i, cell := range cells {
		cell = printable(cell)
		pad := strings.Repeat(" ", widths[i]-width(cell))
		for _, r := range t.right {
			if r == i {
				cell, pad = pad+cell, ""
			}
		}
		b.WriteString(cell + pad + "  ")
	}
	w.WriteString(strings.TrimRight(b.String(), " ") + "\n")
}

// width is how many cells of a terminal a text takes.
func width(s string) int { return uniseg.StringWidth(s) }

// printable keeps recorded text from moving the cursor or breaking the line.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case r < ' ' || r >= 0x7f && r < 0xa0:
			return '�'
		}
		return r
	}, s)
}

// wrapped breaks a text of words into lines of at most so many cells, each
// after an indent and with a line end.
func wrapped(text string, cells int, indent string) string {
	var b strings.Builder
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && width(line)+1+width(word) > cells {
			b.WriteString(indent + line + "\n")
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	if line != "" {
		b.WriteString(indent + line + "\n")
	}
	return b.String()
}

func (p *program) printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
