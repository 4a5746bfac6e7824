package cli

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
)

// versionLine is the version as it is printed.
type versionLine struct {
	Version  string `json:"version"`
	Go       string `json:"go"`
	Revision string `json:"revision,omitempty"`
}

func versionCommand(a *console.App) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version",
		Long:    "Version prints the version of this program and of the Go that it was built with.\nIt needs no Redis. With --json it is a JSON object.",
		Example: "  distpool version\n  distpool version --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			info, ok := debug.ReadBuildInfo()
			if !ok {
				return console.NoResult(errors.New("this program was built without module information"))
			}
			l := versionLine{Version: info.Main.Version, Go: info.GoVersion}
			for _, s := range info.Settings {
				if s.Key == "vcs.revision" {
					l.Revision = s.Value
				}
			}
			if asJSON {
				return console.PrintJSON(a, l)
			}
			fmt.Fprintf(a.Out, "distpool %s %s\n", l.Version, l.Go)
			return nil
		},
	}
	console.JSONFlag(cmd, &asJSON)
	return cmd
}
