// Package killtest kills the real program at random moments under load, and
// looks afterwards whether anything was lost, doubled or torn. It has a test
// and nothing else.
package killtest
