package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
	"github.com/distpool/distpool/internal/monitor"
	"github.com/distpool/distpool/internal/monitor/gate"
	"github.com/distpool/distpool/internal/redisconn"
)

// envMonitorToken holds the monitor's token.
const envMonitorToken = "DISTPOOL_MONITOR_TOKEN"

// monitorLine says where the monitor serves.
type monitorLine struct {
	URL   string `json:"url"`
	Write bool   `json:"write"`
	Token bool   `json:"token"`
}

func monitorCommand(a *console.App) *cobra.Command {
	var cfg monitor.Config
	var tokenFile string
	var proxies []string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "monitor", Short: "Serve a web page that shows jobs, workers, throughput and asynqmon",
		Long: `Monitor serves a web page: jobs with their progress, one job with its chunks,
its slowest and its failed calls, workers, queues, throughput, and asynqmon, all
on one port. It ends with SIGTERM or an interrupt.

It is safe by default: it listens on 127.0.0.1, and it changes nothing unless
--write allows to cancel jobs and to change queues. On any other address it
demands a token, which browsers ask for once, and which scripts send as
"Authorization: Bearer TOKEN". Without it, GET /healthz says that the monitor
lives, and GET /readyz whether Redis answers.

The token is taken from --token-file, --token, or the environment variable
DISTPOOL_MONITOR_TOKEN. What is given with --token can be seen in the list of
processes. Traffic is not encrypted: put a proxy with TLS before it when it
leaves the machine, and name it with --trust-proxy: from one address 30 wrong tokens
are looked at in a minute, and the proxy says who sent them.

With --keyring or DISTPOOL_KEYRING it shows arguments and errors of encrypted jobs,
to all who may see its pages; without, "(encrypted)". --hide-payloads shows none.

It prints one line once it serves: its address, and whether it may change
anything. With --json that is a JSON object with the members url, write and
token (whether one is demanded).`,
		Example: "  distpool monitor\n" +
			"  distpool monitor --write --addr 127.0.0.1:9000\n" +
			"  distpool monitor --addr 0.0.0.0:8500 --token-file /run/secrets/monitor --allow-host monitor.example.com",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := readToken(&cfg, tokenFile); err != nil {
				return console.Usage(err)
			}
			trusted, err := gate.ParseProxies(proxies)
			if err != nil {
				return console.Usagef("--trust-proxy: %w", err)
			}
			cfg.Proxies = trusted
			ring, err := a.Keys()
			if err != nil {
				return err
			}
			cfg.Keyring = ring
			ctx := cmd.Context()
			rdb, err := redisconn.Open(ctx, a.Redis)
			if err != nil {
				return console.NoResult(err)
			}
			defer func() { _ = rdb.Close() }()
			cfg.Redis = rdb
			cfg.Logger = slog.New(slog.NewTextHandler(a.Err, nil))
			if err := cfg.Check(); err != nil {
				return console.Usagef("monitor: %w", err)
			}
			if err := monitor.Run(ctx, cfg, func(addr net.Addr) { sayServing(a, addr, cfg, asJSON) }); err != nil {
				return console.NoResult(err)
			}
			return nil
		},
	}
	console.JSONFlag(cmd, &asJSON)
	f := cmd.Flags()
	f.StringVar(&cfg.Addr, "addr", monitor.DefaultAddr, "address to listen on, host:port")
	f.StringVar(&cfg.Token, "token", "", "token that is demanded, 16 characters or more (default $"+envMonitorToken+")")
	f.StringVar(&tokenFile, "token-file", "", "file that has the token in it")
	f.BoolVar(&cfg.Write, "write", false, "allow to cancel jobs, and to change queues in asynqmon")
	f.BoolVar(&cfg.HidePayloads, "hide-payloads", false, "show no arguments, values and error texts")
	f.StringSliceVar(&cfg.Hosts, "allow-host", nil, "name by which browsers may call the monitor, besides localhost and IP addresses")
	f.StringSliceVar(&proxies, "trust-proxy", nil, "address or network of a proxy whose X-Forwarded-For is believed")
	return cmd
}

// sayServing says where the monitor serves.
func sayServing(a *console.App, addr net.Addr, cfg monitor.Config, asJSON bool) {
	if asJSON {
		_ = json.NewEncoder(a.Out).Encode(monitorLine{"http://" + addr.String(), cfg.Write, cfg.Token != ""})
		return
	}
	how := "read-only"
	if cfg.Write {
		how = "may cancel jobs and change queues"
	}
	fmt.Fprintf(a.Out, "distpool monitor: http://%s (%s)\n", addr, how)
}

// readToken finds the token.
func readToken(cfg *monitor.Config, file string) error {
	switch {
	case file != "" && cfg.Token != "":
		return errors.New("--token and --token-file are both given; use one of them")
	case file != "":
		data, err := os.ReadFile(file)
		if err != nil {
			var perr *fs.PathError
			if errors.As(err, &perr) {
				err = perr.Err
			}
			return fmt.Errorf("--token-file: reading %s: %w", file, err)
		}
		if cfg.Token = strings.TrimSpace(string(data)); cfg.Token == "" {
			return fmt.Errorf("--token-file: %s is empty; put a token of 16 or more characters into it", file)
		}
	case cfg.Token == "":
		cfg.Token = os.Getenv(envMonitorToken)
	}
	return nil
}
