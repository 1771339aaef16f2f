// Command bench measures what this machine can do and what liuhen makes of
// it, in one run, interleaved, each figure several times. It prints a table
// and writes JSON.
//
//	go run ./internal/bench                     all of it
//	go run ./internal/bench --only road,raw     some of it
//	go run ./internal/bench --log FILE          with a log to import
//	go run ./internal/bench --only road --read-models without --in-flight 64 --rounds 1 --for 10s --cpuprofile FILE
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

type options struct {
	rounds  int
	seconds time.Duration
	json    string
	only    []string
	log     string
	mapping string
	cold    int
	binary  string
	profile string
	levels  []int
	models  string
}

func main() {
	var o options
	var only string
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; each figure is the median of them")
	flag.DurationVar(&o.seconds, "for", 3*time.Second, "how long each rate is measured")
	flag.StringVar(&o.json, "json", "bench.json", "file for the figures; empty: none")
	flag.StringVar(&only, "only", "raw,road,cold,proofs,program", "parts to run")
	flag.StringVar(&o.log, "log", "../shared/data/logs/road_traffic_fines_dev.csv.gz", "log to import; where it is absent one is made up")
	flag.StringVar(&o.mapping, "mapping", "intake/mappings/traffic-fine-csv.yaml", "its mapping file")
	flag.IntVar(&o.cold, "cold", 2_000_000, "records in the stream under the cold cases")
	flag.StringVar(&o.binary, "binary", "bin/liuhen", "the built program, for the part 'program'")
	flag.StringVar(&o.profile, "cpuprofile", "", "write a CPU profile of the parts that run in this process")
	var levels string
	flag.StringVar(&levels, "in-flight", "1,64,1024", "acts in flight, for the part 'road'; with --cpuprofile, one level at a time")
	flag.StringVar(&o.models, "read-models", "both", "the part 'road' without read models following, with them, or both")
	flag.Parse()
	for _, level := range strings.Split(levels, ",") {
		n, err := strconv.Atoi(level)
		if err != nil || n < 1 {
			fmt.Fprintf(os.Stderr, "bench: --in-flight %s: want whole numbers from 1 up, with commas\n", levels)
			os.Exit(2)
		}
		o.levels = append(o.levels, n)
	}
	o.only = strings.Split(only, ",")

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := profiled(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func profiled(ctx context.Context, o options) (err error) {
	if o.profile == "" {
		return run(ctx, o)
	}
	f, err := os.Create(o.profile)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return run(ctx, o)
}

func run(ctx context.Context, o options) error {
	r := newReport()
	r.Settings["fsync"] = "always: JetStream sync_interval always; PostgreSQL fsync on, read models with synchronous_commit off"
	r.Settings["payload"] = fmt.Sprintf("raw: %d bytes; liuhen: records of its own making, about as long", len(payload))
	r.Settings["rounds"] = fmt.Sprintf("%d of %s each, interleaved; median (min–max)", o.rounds, o.seconds)
	for _, part := range []struct {
		name string
		run  func(context.Context, options, *report) error
	}{
		{"raw", benchRaw},
		{"road", benchRoad},
		{"cold", benchCold},
		{"proofs", benchProofs},
		{"program", benchProgram},
	} {
		if !slices.Contains(o.only, part.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s\n", part.name)
		if err := part.run(ctx, o, r); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return r.write(os.Stdout, o.json)
}

// payload is about as long as a record of a small act.
var payload = []byte(strings.Repeat(`{"specversion":"1.0","subject":"案-000001","data":{"text":"执法全过程记录"}}`, 16)[:1100])

func benchRaw(ctx context.Context, o options, r *report) error {
	for range o.rounds {
		raw, err := openRaw()
		if err != nil {
			return err
		}
		rate, lat, err := raw.single(ctx, 64, payload, o.seconds)
		if err != nil {
			return err
		}
		r.add("Raw limits", rawSingleN, "records/s", rate, lat)
		if rate, lat, err = raw.batches(ctx, payload, o.seconds); err != nil {
			return err
		}
		r.add("Raw limits", rawBatch, "records/s", rate, lat)
		if rate, err = raw.read(ctx); err != nil {
			return err
		}
		r.add("Raw limits", rawRead, "records/s", rate, nil)
		raw.close()
	}
	return nil
}
