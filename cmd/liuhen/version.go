package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the Makefile from git; a plain "go build" leaves it.
var version = "unreleased"

func versionCommand(p *program) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "显示版本 · Print the version",
		Example: "  liuhen version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := map[string]string{
				"version": version,
				"go":      runtime.Version(),
				"system":  runtime.GOOS + "/" + runtime.GOARCH,
			}
			if info, ok := debug.ReadBuildInfo(); ok {
				for _, m := range info.Deps {
					if m.Path == "github.com/nats-io/nats-server/v2" {
						v["nats_server"] = m.Version
					}
				}
			}
			if p.json {
				return p.printJSON(p.out, v)
			}
			p.say("liuhen %s（%s，%s）", "liuhen %s (%s, %s)", v["version"], v["go"], v["system"])
			return nil
		},
	}
}
