package main

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/spf13/cobra"
)

func configCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "显示生效的设置及其来源 · Print each effective setting and where it came from",
		Long:  "显示生效的设置及其来源。\nPrint each effective setting and where it came from.\n\n" + settingsManual(),
		Example: `  liuhen config
  LIUHEN_HTTP=:9090 liuhen config --json
  liuhen config --config /etc/liuhen.yaml`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return p.printConfig() },
	}
	p.flags(c.Flags(), serveKeys...)
	p.flags(c.Flags(), clientKeys...)
	return c
}

type setting struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
	From  string `json:"from"`
}

func (p *program) printConfig() error {
	values := reflect.ValueOf(p.config)
	var all []setting
	for i, f := range reflect.VisibleFields(values.Type()) {
		key := f.Tag.Get("koanf")
		value := values.Field(i).Interface()
		if s, ok := value.(string); ok {
			value = masked(s)
		}
		all = append(all, setting{Key: key, Value: value, From: p.origins[key]})
	}
	if p.json {
		return p.printJSON(p.out, map[string]any{"settings": all})
	}
	t := table{head: []string{p.pick("设置", "SETTING"), p.pick("值", "VALUE"), p.pick("来源", "FROM")}}
	for _, s := range all {
		t.add(s.Key, fmt.Sprint(s.Value), s.From)
	}
	return t.write(p.out)
}

// settingsManual is the text of "liuhen config --help" about every setting.
func settingsManual() string {
	var b strings.Builder
	b.WriteString("Precedence: flag, then LIUHEN_<NAME> in the environment, then the file, then the default.\n")
	preset := reflect.ValueOf(defaults())
	for i, f := range reflect.VisibleFields(preset.Type()) {
		key := f.Tag.Get("koanf")
		fmt.Fprintf(&b, "\n%s (LIUHEN_%s", key, variable(key))
		if v := preset.Field(i); !v.IsZero() {
			fmt.Fprintf(&b, ", default %v", v)
		}
		b.WriteString(")\n")
		b.WriteString(wrapped(manual()[key], 76, "    "))
	}
	return b.String()
}
