package main

import (
	_ "embed"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/knadh/koanf/parsers/yaml"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/providers/structs"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/pflag"
)

// Config is every setting of the program. The comment of a field is its
// manual: "liuhen config --help" prints it. A value is taken from the flag,
// else from the environment (LIUHEN_ and the name in capitals, - becomes _; an
// empty variable is as good as none), else from the file (--config, or
// liuhen.yaml in the data folder), else it is the default. A name that is not
// here is an error.
type Config struct {
	// The data folder. It holds the record (nats/), the read models (pg/), the
	// first administrator's token (admin.token), the lock and, while the system
	// runs, its address (server.json). Default: /var/lib/liuhen for root,
	// otherwise liuhen under $XDG_DATA_HOME or ~/.local/share.
	Data string `koanf:"data"`
	// The file with settings, instead of liuhen.yaml in the data folder.
	File string `koanf:"config"`
	// The language of what is printed: zh or en.
	Lang string `koanf:"lang"`

	// The address that HTTP listens on, host:port. Port 0 takes a free one.
	HTTP string `koanf:"http"`
	// An outside NATS server or cluster with JetStream (nats://host:4222, more
	// than one separated by commas). It must run with sync_interval: always,
	// and two systems on it need an account each. Empty: a server inside this
	// process.
	NATS string `koanf:"nats"`
	// The file with the credentials for the outside NATS (a .creds file).
	NATSCredentials string `koanf:"nats-credentials"`
	// An outside PostgreSQL, 15 or newer (postgres://user@host:5432/database).
	// Empty: a private cluster under the data folder, on a unix socket.
	Postgres string `koanf:"postgres"`
	// The file with the password for the outside PostgreSQL.
	PostgresPasswordFile string `koanf:"postgres-password-file"`
	// How many servers of an outside NATS cluster keep the record: 1, 3 or 5.
	// The server inside this process keeps it once.
	Replicas int `koanf:"replicas"`
	// A folder with an agency's own law files (*.yaml), which extend the
	// national ones and set their parameters. "liuhen law check" checks it.
	Law string `koanf:"law"`
	// The file with the agency's roster of officers and their certificates
	// (执法人员名册). Empty: roster.yaml in the data folder, where there is one;
	// without a roster what is said of an officer is taken as it is.
	Roster string `koanf:"roster"`
	// A folder with an agency's own Cedar policies (*.cedar), which add to those
	// that the program comes with.
	Policies string `koanf:"policies"`
	// The folder with the keys that the log of proofs is signed with, and the
	// newest checkpoint beside them. It should lie elsewhere than the data folder
	// and its backups. Default: liuhen/keys under $XDG_CONFIG_HOME, /etc/liuhen/keys
	// for root, otherwise ~/.config/liuhen/keys.
	Keys string `koanf:"keys"`
	// The name of the log of proofs, which is also that of its keys, such as
	// example.org/liuhen/210100/2026. No two logs may share one, and a log keeps
	// its own. Empty: made of the host's name and a random part when the log is begun.
	Origin string `koanf:"origin"`
	// Begin a log of proofs although there are records without one, or keys of a log
	// that is gone: once, after a version that had no log, or after a data folder was
	// removed on purpose.
	BeginLog bool `koanf:"begin-log"`
	// Digests of each record beside SHA-256 in the log of proofs, fixed when the
	// log is begun: sm3 (GB/T 32905), or empty.
	Digests string `koanf:"digests"`
	// The file that names the witnesses who are asked to cosign the log of proofs (C2SP
	// tlog-policy: witness NAME KEY URL, one a line). Empty: nobody is asked.
	Witnesses string `koanf:"witnesses"`
	// The address of a time-stamping authority (RFC 3161) that stamps a checkpoint
	// of the log of proofs once a day. Empty: none.
	TSA string `koanf:"tsa"`
	// The file with the certificates, in PEM, that the authority's own must lead to.
	TSARoots string `koanf:"tsa-roots"`
	// How much memory Go may use before it collects harder, such as 512MiB;
	// auto is a third of the machine's (or the container's), the rest being
	// for PostgreSQL and the page cache. GOMEMLIMIT, where set, wins.
	MemoryLimit string `koanf:"memory-limit"`
	// What is logged to the standard error: debug, info, warn or error.
	LogLevel string `koanf:"log-level"`
	// The form of the log: text or json.
	LogFormat string `koanf:"log-format"`

	// For commands that ask a running system: its address, http://host:port.
	// Empty: what server.json in the data folder says.
	Server string `koanf:"server"`
	// For commands that ask a running system: the file with the token. Empty:
	// cli.token in the data folder ("liuhen token create --use" puts it there),
	// or admin.token where there is none or only an administrator may ask.
	TokenFile string `koanf:"token-file"`
	// For commands that ask a running system: why personal data is read. An
	// administrator must say so, and the access trail keeps it. Empty: with
	// admin.token from the data folder, the name of the command.
	Purpose string `koanf:"purpose"`
}

// serveKeys and clientKeys are the settings that a command of that kind takes
// as flags; the first three of Config are flags of every command.
var (
	serveKeys  = []string{"http", "nats", "nats-credentials", "postgres", "postgres-password-file", "replicas", "law", "roster", "policies", "keys", "origin", "begin-log", "digests", "witnesses", "tsa", "tsa-roots", "memory-limit", "log-level", "log-format"}
	clientKeys = []string{"server", "token-file", "purpose"}
)

func defaults() Config {
	return Config{
		Data:        defaultData(),
		Lang:        "zh",
		HTTP:        "127.0.0.1:8080",
		Replicas:    1,
		MemoryLimit: "auto",
		LogLevel:    "warn",
		LogFormat:   "text",
	}
}

func defaultData() string {
	if os.Geteuid() == 0 {
		return "/var/lib/liuhen" // the database runs as another user, who could not pass through /root
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "liuhen")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "liuhen-data"
	}
	return filepath.Join(home, ".local", "share", "liuhen")
}

// flags adds settings to a command's flags.
func (p *program) flags(fs *pflag.FlagSet, keys ...string) {
	preset := reflect.ValueOf(defaults())
	for i, f := range reflect.VisibleFields(preset.Type()) {
		key := f.Tag.Get("koanf")
		if !slices.Contains(keys, key) {
			continue
		}
		usage, _, _ := strings.Cut(manual()[key], ". ")
		usage = strings.TrimSuffix(usage, ".")
		switch v := preset.Field(i).Interface().(type) {
		case string:
			fs.String(key, v, usage)
		case int:
			fs.Int(key, v, usage)
		case bool:
			fs.Bool(key, v, usage)
		default:
			panic("settings: no flag for the type of " + key)
		}
	}
}

// load fills p.config and p.origins.
func (p *program) load(flags *pflag.FlagSet, environ []string) error {
	known := koanf.New(".")
	if err := known.Load(structs.Provider(defaults(), "koanf"), nil); err != nil {
		return err
	}
	keys := known.Keys()

	environment := koanf.New(".")
	err := environment.Load(env.Provider(".", env.Opt{
		Prefix:      "LIUHEN_",
		EnvironFunc: func() []string { return environ },
		TransformFunc: func(name, value string) (string, any) {
			if value == "" {
				return "", nil // as if it were not set
			}
			return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "LIUHEN_")), "_", "-"), value
		},
	}), nil)
	if err != nil {
		return err
	}
	for _, key := range environment.Keys() {
		if !slices.Contains(keys, key) {
			return usagef("unknown setting LIUHEN_%s in the environment%s", variable(key), nearest(key, keys))
		}
	}

	flagged := koanf.New(".")
	err = flagged.Load(posflag.ProviderWithFlag(flags, ".", nil, func(f *pflag.Flag) (string, any) {
		if !slices.Contains(keys, f.Name) {
			return "", nil
		}
		return f.Name, posflag.FlagVal(flags, f)
	}), nil)
	if err != nil {
		return err
	}

	fromFile, path, err := p.loadFile(keys, known, environment, flagged)
	if err != nil {
		return err
	}

	p.origins = map[string]string{}
	for _, key := range keys {
		p.origins[key] = "default"
	}
	for _, layer := range []struct {
		values *koanf.Koanf
		origin func(key string) string
	}{
		{fromFile, func(string) string { return "file " + path }},
		{environment, func(key string) string { return "environment LIUHEN_" + variable(key) }},
		{flagged, func(key string) string { return "flag --" + key }},
	} {
		for _, key := range layer.values.Keys() {
			p.origins[key] = layer.origin(key)
		}
		if err := known.Merge(layer.values); err != nil {
			return err
		}
	}
	if err := known.Unmarshal("", &p.config); err != nil {
		return usagef("settings: %v", err)
	}
	return p.config.check()
}

// loadFile reads the file with settings. The one in the data folder may be
// missing; the one that was named may not.
func (p *program) loadFile(keys []string, layers ...*koanf.Koanf) (values *koanf.Koanf, path string, err error) {
	values = koanf.New(".")
	setting := func(key string) (v string) {
		for _, layer := range layers {
			if layer.Exists(key) {
				v = layer.String(key)
			}
		}
		return v
	}
	named := setting("config")
	path = named
	if named == "" {
		path = filepath.Join(setting("data"), "liuhen.yaml")
	}
	err = values.Load(file.Provider(path), yaml.Parser())
	switch {
	case errors.Is(err, fs.ErrNotExist) && named == "":
		return values, path, nil
	case err != nil:
		return nil, path, usagef("settings in %s: %v", path, err)
	}
	for _, key := range values.Keys() {
		switch {
		case !slices.Contains(keys, key):
			return nil, path, usagef("unknown setting %q in %s%s", key, path, nearest(key, keys))
		case key == "config" || key == "data" && named == "":
			return nil, path, usagef("%q cannot be set in %s: it is what leads to that file", key, path)
		}
	}
	return values, path, nil
}

func (c *Config) check() error {
	switch {
	case c.Lang != "zh" && c.Lang != "en":
		return usagef("lang is %q: want zh or en", c.Lang)
	case c.Data == "":
		return usagef("data is empty: want a folder")
	case c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return usagef("replicas is %d: want 1, 3 or 5", c.Replicas)
	case c.Replicas != 1 && c.NATS == "":
		return usagef("replicas is %d, but the NATS inside this process keeps the record once: name a cluster with --nats", c.Replicas)
	case !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel):
		return usagef("log-level is %q: want debug, info, warn or error", c.LogLevel)
	case c.TSA != "" && c.TSARoots == "":
		return usagef("tsa goes with tsa-roots: an authority's time is believed by its certificates")
	case c.LogFormat != "text" && c.LogFormat != "json":
		return usagef("log-format is %q: want text or json", c.LogFormat)
	}
	return nil
}

func variable(key string) string { return strings.ToUpper(strings.ReplaceAll(key, "-", "_")) }

// nearest suggests the key that was probably meant.
func nearest(key string, keys []string) string {
	folded := func(s string) string { return strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(s)) }
	for _, k := range keys {
		if folded(k) == folded(key) || len(key) > 3 && (strings.HasPrefix(k, key) || strings.HasPrefix(key, k)) {
			return fmt.Sprintf(" (did you mean %q?)", k)
		}
	}
	return `: "liuhen config --help" lists all`
}

// masked hides a password that stands in an address.
func masked(value string) string {
	u, err := url.Parse(value)
	if err != nil || u.User == nil {
		return value
	}
	return u.Redacted()
}

//go:embed settings.go
var settingsSource string

// manual returns the comment of each setting, by its key.
var manual = sync.OnceValue(func() map[string]string {
	tree, err := parser.ParseFile(token.NewFileSet(), "settings.go", settingsSource, parser.ParseComments)
	if err != nil {
		panic("settings: " + err.Error())
	}
	texts := map[string]string{}
	ast.Inspect(tree, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok || spec.Name.Name != "Config" {
			return true
		}
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			key := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("koanf")
			texts[key] = strings.Join(strings.Fields(f.Doc.Text()), " ")
		}
		return false
	})
	return texts
})
