package cli

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
)

// eachCommand calls f with each command that is shown, and its words without the
// program's name, in the order of the help.
func eachCommand(f func(cmd *cobra.Command, words string)) {
	root := rootCommand(console.New(console.Streams{}))
	root.InitDefaultHelpCmd()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			if c.Hidden {
				continue
			}
			words := strings.TrimPrefix(c.CommandPath(), root.Name()+" ")
			if !strings.HasPrefix(words, "completion ") { // one for each shell, all the same
				f(c, words)
			}
			walk(c)
		}
	}
	walk(root)
}

// CommandNames lists the commands that the program shows, without the program's
// name, such as "queues pause".
func CommandNames() []string {
	var names []string
	eachCommand(func(_ *cobra.Command, words string) { names = append(names, words) })
	slices.Sort(names)
	return names
}

const docsHead = `<!-- Written by "make docs" from the help of the commands. Do not edit. -->

# The command line

`

// Docs is the documentation of the command line, as Markdown: what --help says of
// each command.
func Docs() []byte {
	root := rootCommand(console.New(console.Streams{}))
	var b bytes.Buffer
	b.WriteString(docsHead)
	fmt.Fprintf(&b, "```text\n%s\n```\n\nEvery command has these flags; what it does not need it ignores:\n\n```text\n%s```\n", root.Long, root.PersistentFlags().FlagUsagesWrapped(docsWidth))
	b.WriteString("\n| command | what it does |\n| --- | --- |\n")
	eachCommand(func(c *cobra.Command, words string) {
		anchor := strings.ReplaceAll("distpool "+words, " ", "-")
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s |\n", words, anchor, c.Short)
	})
	eachCommand(func(c *cobra.Command, words string) {
		fmt.Fprintf(&b, "\n## distpool %s\n\n```text\n", words)
		if use := c.UseLine(); c.Runnable() {
			fmt.Fprintf(&b, "%s\n\n", use)
		}
		long := c.Long
		if long == "" {
			long = c.Short
		}
		fmt.Fprintf(&b, "%s\n```\n", strings.TrimSpace(long))
		if c.Example != "" {
			fmt.Fprintf(&b, "\n```sh\n%s\n```\n", unindent(c.Example))
		}
		c.InitDefaultHelpFlag()
		if own := c.NonInheritedFlags(); own.HasAvailableFlags() {
			fmt.Fprintf(&b, "\n```text\n%s```\n", own.FlagUsagesWrapped(docsWidth))
		}
	})
	return b.Bytes()
}

// docsWidth is how long lines of flags get.
const docsWidth = 110

func unindent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimSpace(l)
	}
	return strings.Join(lines, "\n")
}
