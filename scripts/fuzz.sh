#!/usr/bin/env bash
# Runs every fuzz test of the module for a while: scripts/fuzz.sh 30s
set -euo pipefail
for_how_long=${1:-30s}

go list ./... | while read -r package; do
	dir=$(go list -f '{{.Dir}}' "$package")
	{ grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go 2>/dev/null || true; } | sed 's/^func //' |
		while read -r target; do
			echo "== $package $target"
			go test -run '^$' -fuzz "^$target\$" -fuzztime "$for_how_long" -fuzzminimizetime 10x "$package" </dev/null
		done
done
