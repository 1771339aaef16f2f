package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
)

// oldest is the oldest major version that the program is tested with.
const oldest = 15

// ErrNoBinaries says that no PostgreSQL server is installed that could be
// used. The text of the error tells how to get one.
var ErrNoBinaries = errors.New("no PostgreSQL server binaries found")

// Binaries is a folder with the programs of one PostgreSQL server.
type Binaries struct {
	Dir   string // holds initdb and postgres
	Major int    // 15, 16 …
}

// places are patterns of folders that distributions put the server in.
var places = []string{
	"/usr/lib/postgresql/*/bin", // Debian, Ubuntu
	"/usr/pgsql-*/bin",          // packages of the PostgreSQL project for Red Hat
	"/usr/libexec/postgresql*",  // Alpine
	"/usr/local/pgsql/bin",      // from source
	"/opt/homebrew/opt/postgresql*/bin",
	"/usr/local/opt/postgresql*/bin",
}

// Find returns the newest installed server of version 15 or later; with
// major, the newest of that version. The search path comes before the usual
// places of the distributions.
func Find(major int) (Binaries, error) {
	var dirs []string
	if path, err := exec.LookPath("postgres"); err == nil {
		dirs = append(dirs, filepath.Dir(path))
	}
	for _, pattern := range places {
		found, err := filepath.Glob(pattern)
		if err != nil {
			panic("postgres: pattern " + pattern + ": " + err.Error())
		}
		dirs = append(dirs, found...)
	}

	var usable []Binaries
	for _, dir := range dirs {
		if b, err := at(dir); err == nil && b.Major >= oldest && (major == 0 || b.Major == major) {
			usable = append(usable, b)
		}
	}
	if len(usable) > 0 {
		return slices.MaxFunc(usable, func(a, b Binaries) int { return a.Major - b.Major }), nil
	}
	if major != 0 {
		return Binaries{}, fmt.Errorf("%w: the data was made by version %d; run: apt-get install postgresql-%d", ErrNoBinaries, major, major)
	}
	return Binaries{}, fmt.Errorf("%w (version %d or later); run: apt-get install postgresql", ErrNoBinaries, oldest)
}

var versionText = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// at asks the server in dir for its version.
func at(dir string) (Binaries, error) {
	if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
		return Binaries{}, err
	}
	out, err := exec.Command(filepath.Join(dir, "postgres"), "--version").Output()
	if err != nil {
		return Binaries{}, fmt.Errorf("ask %s for its version: %w", dir, err)
	}
	m := versionText.FindSubmatch(out)
	if m == nil {
		return Binaries{}, fmt.Errorf("ask %s for its version: it says %q", dir, out)
	}
	major, err := strconv.Atoi(string(m[1]))
	return Binaries{Dir: dir, Major: major}, err
}
