package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// limitMemory tells Go how much memory it may use before it collects harder.
func (p *program) limitMemory() error {
	if os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	if p.config.MemoryLimit != "auto" {
		n, err := parseBytes(p.config.MemoryLimit)
		if err != nil {
			return usagef("memory-limit is %q: want auto, or a size such as 512MiB", p.config.MemoryLimit)
		}
		debug.SetMemoryLimit(n)
		return nil
	}
	if n := machineMemory(); n > 0 {
		debug.SetMemoryLimit(max(n/3, 256<<20))
	}
	return nil
}

// parseBytes reads 1073741824, 512MiB, 2GiB.
func parseBytes(s string) (int64, error) {
	for _, unit := range []struct {
		name  string
		shift int
	}{{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"B", 0}, {"", 0}} {
		digits, ok := strings.CutSuffix(s, unit.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err != nil || n <= 0 || n > math.MaxInt64>>unit.shift {
			return 0, fmt.Errorf("size %q", s)
		}
		return n << unit.shift, nil
	}
	return 0, fmt.Errorf("size %q", s)
}

// machineMemory is the memory of the container or else of the machine, in
// bytes; 0 where it cannot be found out.
func machineMemory() int64 {
	total := meminfo()
	if text, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && (total == 0 || n < total) {
			return n
		}
	}
	return total
}

func meminfo() int64 {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "MemTotal:"); ok {
			n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}
