package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// An account is who the server runs as.
type account struct {
	name     string
	uid, gid int
}

// serverAccount says who the server must run as, nil where that is who we
// are. A cluster that is there already stays with its owner.
func serverAccount(dir string) (*account, error) {
	owner, made := clusterOwner(dir)
	if os.Geteuid() != 0 {
		if made && owner.uid != os.Geteuid() {
			return nil, fmt.Errorf("its cluster belongs to uid %d and this is uid %d; start as root as before, or give the folder away: chown -R %d %s",
				owner.uid, os.Geteuid(), os.Geteuid(), dir)
		}
		return nil, nil
	}
	if made && owner.uid != 0 {
		return owner, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.Atoi(u.Uid)
		gid, err2 := strconv.Atoi(u.Gid)
		if err := errors.Join(err1, err2); err != nil {
			return nil, fmt.Errorf("user %s: %w", name, err)
		}
		return &account{name: name, uid: uid, gid: gid}, nil
	}
	return nil, errors.New("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as; add one: useradd --system postgres")
}

func clusterOwner(dir string) (*account, bool) {
	info, err := os.Stat(filepath.Join(dir, cluster))
	if err != nil {
		return nil, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, false
	}
	return &account{uid: int(stat.Uid), gid: int(stat.Gid)}, true
}
