package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"liuhen/domain/calendar"
)

func tokenCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:   "token",
		Short: "签发、列出、撤销访问令牌 · Make, list and revoke tokens",
		Long: `签发、列出、撤销访问令牌。
Who comes with a token acts as the person, in the role and for the agencies that
the token was made for. Roles: officer, head, legal-reviewer, publisher,
supervisor, inspector, administrator, importer, system, public. An administrator
makes tokens but records no act.`,
		Example: `  liuhen token create --person zhang-san --name 张三 --role officer --agency 210100-kj --use
  liuhen token list
  liuhen token revoke ID`,
		Args: cobra.ArbitraryArgs,
		RunE: group,
	}
	c.AddCommand(tokenCreateCommand(p), tokenListCommand(p), tokenRevokeCommand(p))
	return c
}

func tokenCreateCommand(p *program) *cobra.Command {
	var want struct {
		Label   string `json:"label,omitempty"`
		Person  string `json:"person"`
		Name    string `json:"name,omitempty"`
		Role    string `json:"role"`
		Agency  string `json:"agency,omitempty"`
		Expires string `json:"expires,omitempty"`
	}
	var expires, out string
	var use bool
	c := &cobra.Command{
		Use:   "create",
		Short: "签发令牌，只显示一次 · Make a token, shown this once",
		Long: `签发令牌，只显示一次。
Make a token. It is printed this once, or written to a file that only its owner
can read: --out FILE, or --use for cli.token in the data folder, which the
commands on this machine then come with.`,
		Example: `  liuhen token create --person zhang-san --name 张三 --role officer --agency 210100-kj --use
  liuhen token create --person du-cha --role inspector --agency "*" --out inspector.token
  liuhen token create --person exchange --role importer --agency 210100-kj --expires 2027-12-31`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if expires != "" {
				t, err := expiry(expires, time.Now())
				if err != nil {
					return err
				}
				want.Expires = t.Format(time.RFC3339)
			}
			if use {
				out = filepath.Join(p.config.Data, cliName)
			}
			return p.createToken(c.Context(), want, out)
		},
	}
	fs := c.Flags()
	fs.StringVar(&want.Person, "person", "", "id of the person, or of the program")
	fs.StringVar(&want.Name, "name", "", "name of the person, frozen into what they record")
	fs.StringVar(&want.Role, "role", "", "officer, head, legal-reviewer, publisher, supervisor, inspector, administrator, importer, system or public")
	fs.StringVar(&want.Agency, "agency", "", "codes of the agencies they act for, separated by commas; * for all")
	fs.StringVar(&want.Label, "label", "", "what the token is for, e.g. the computer it is used on")
	fs.StringVar(&expires, "expires", "", "last day on which it is good, or how long: 2027-12-31, 30d, 12h (default: for good)")
	fs.StringVar(&out, "out", "", "write it to this file instead of printing it")
	fs.BoolVar(&use, "use", false, "write it to cli.token in the data folder, for the commands on this machine")
	c.MarkFlagsMutuallyExclusive("out", "use")
	required(c, "person", "role")
	p.flags(fs, clientKeys...)
	return c
}

// required marks flags that a command cannot do without.
func required(c *cobra.Command, names ...string) {
	for _, name := range names {
		if err := c.MarkFlagRequired(name); err != nil {
			panic(err.Error()) // no such flag: a bug
		}
	}
}

// expiry reads a last day or a length of time.
func expiry(text string, now time.Time) (time.Time, error) {
	if d, err := calendar.ParseDate(text); err == nil {
		return d.AddDays(1).Start(), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days, "%d", &n); err == nil && n > 0 && fmt.Sprint(n) == days {
			return now.Add(time.Duration(n) * 24 * time.Hour), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d), nil
	}
	return time.Time{}, usagef("--expires %s: want a day (2027-12-31) or a length of time (30d, 12h)", text)
}

func (p *program) createToken(ctx context.Context, want any, out string) error {
	c, err := p.client("token create", true)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := c.call(ctx, http.MethodPost, "/v1/tokens", nil, nil, want, &raw); err != nil {
		return err
	}
	var made struct {
		ID    string `json:"id"`
		Token string `json:"token"`
	}
	if err := json.Unmarshal(raw, &made); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if out == "" {
		if p.json {
			return p.printJSON(p.out, raw)
		}
		fmt.Fprintln(p.out, made.Token)
		return nil
	}
	if err := writeToken(out, made.Token); err != nil {
		return fmt.Errorf("the token %s was made but could not be kept; revoke it: %w", made.ID, err)
	}
	if p.json {
		return p.printJSON(p.out, map[string]string{"id": made.ID, "file": out})
	}
	p.say("令牌 %s 已写入 %s", "token %s is in %s", made.ID, out)
	return nil
}

func tokenListCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:     "list",
		Short:   "列出令牌（不含令牌本身） · List the tokens, without their secrets",
		Example: "  liuhen token list --json",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return p.listTokens(c.Context())
		},
	}
	p.flags(c.Flags(), clientKeys...)
	return c
}

func (p *program) listTokens(ctx context.Context) error {
	c, err := p.client("token list", true)
	if err != nil {
		return err
	}
	var raw json.RawMessage
	if err := c.get(ctx, "/v1/tokens", nil, &raw); err != nil {
		return err
	}
	if p.json {
		return p.printJSON(p.out, raw)
	}
	var tokens struct {
		Items []struct {
			ID       string    `json:"id"`
			Label    string    `json:"label"`
			Person   string    `json:"person"`
			Name     string    `json:"name"`
			Role     string    `json:"role"`
			Agencies []string  `json:"agencies"`
			Created  time.Time `json:"created"`
			Expires  time.Time `json:"expires"`
			Revoked  time.Time `json:"revoked"`
			LastUsed time.Time `json:"last_used"`
		} `json:"items"`
	}
	if err := json.Unmarshal(raw, &tokens); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	t := table{head: []string{
		p.pick("编号", "ID"), p.pick("人员", "PERSON"), p.pick("姓名", "NAME"), p.pick("角色", "ROLE"), p.pick("机关", "AGENCIES"),
		p.pick("签发", "CREATED"), p.pick("到期", "EXPIRES"), p.pick("最近使用", "LAST USED"), p.pick("撤销", "REVOKED"),
	}}
	for _, k := range tokens.Items {
		t.add(k.ID, k.Person, k.Name, k.Role, strings.Join(k.Agencies, ","), p.moment(k.Created), p.moment(k.Expires), p.moment(k.LastUsed), p.moment(k.Revoked))
	}
	return t.write(p.out)
}

func tokenRevokeCommand(p *program) *cobra.Command {
	c := &cobra.Command{
		Use:     "revoke ID",
		Short:   "撤销令牌 · Revoke a token for good",
		Example: "  liuhen token revoke 3f2a9c",
		Args:    cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			k, err := p.client("token revoke", true)
			if err != nil {
				return err
			}
			if err := k.call(c.Context(), http.MethodDelete, at("v1", "tokens", args[0]), nil, nil, nil, nil); err != nil {
				return err
			}
			if p.json {
				return p.printJSON(p.out, map[string]string{"revoked": args[0]})
			}
			p.say("令牌 %s 已撤销", "token %s is revoked", args[0])
			return nil
		},
	}
	p.flags(c.Flags(), clientKeys...)
	return c
}
