// Package layout holds the rules of who may import whom. It has a test and
// nothing else.
package layout
