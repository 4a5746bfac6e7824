package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
)

const (
	// probeTime is how long an answer may take unless --timeout says otherwise: less
	// than the health checks that run this wait for it.
	probeTime = 2 * time.Second
	// maxReason is how much of a refusal is printed.
	maxReason = 500
)

// probeLine is an answer as it is printed.
type probeLine struct {
	URL    string `json:"url"`
	Status int    `json:"status"`
	Answer string `json:"answer"`
}

func probeCommand(a *console.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "probe URL", Short: "Ask a worker or a monitor whether it is well, for health checks",
		Long: `Probe asks the URL once, within two seconds or --timeout. The exit code is 0
when the answer is 200, and 3, with what was answered, when it is another one or
none. It is for health checks in images that have no shell and no curl. With
--json an answer, whichever it is, is a JSON object.`,
		Example: "  distpool probe http://127.0.0.1:9090/readyz     # of worker -http :9090\n" +
			"  distpool probe http://127.0.0.1:8500/readyz     # of distpool monitor",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := url.Parse(args[0])
			if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
				return console.Usagef("probe: %q is not a URL such as http://127.0.0.1:9090/readyz", args[0])
			}
			limit := a.Timeout
			if limit == 0 {
				limit = probeTime
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), limit)
			defer cancel()
			return probe(ctx, a, args[0], asJSON)
		},
	}
	console.JSONFlag(cmd, &asJSON)
	return cmd
}

func probe(ctx context.Context, a *console.App, address string, asJSON bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return console.Usagef("probe: %w", err)
	}
	// A probe is about this process. Neither a proxy of the environment nor another
	// page is asked.
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return console.NoResult(fmt.Errorf("probe: %w", err))
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxReason))
	said := strings.TrimSpace(strings.ToValidUTF8(string(body), "\uFFFD"))
	if asJSON {
		if err := console.PrintJSON(a, probeLine{address, resp.StatusCode, said}); err != nil {
			return err
		}
	}
	if resp.StatusCode != http.StatusOK {
		return console.NoResult(fmt.Errorf("probe: %s answers %s: %s", address, resp.Status, said))
	}
	if !asJSON {
		fmt.Fprintln(a.Out, said)
	}
	return nil
}
