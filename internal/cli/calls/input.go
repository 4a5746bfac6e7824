package calls

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"

	"github.com/spf13/cobra"

	"github.com/distpool/distpool/internal/cli/console"
)

// inputFlags say where the arguments of many calls come from, and how they travel.
type inputFlags struct {
	file  string
	chunk int
}

func (f *inputFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.file, "input", "", "file of JSON lines to take the arguments from; - is standard input")
	cmd.Flags().IntVar(&f.chunk, "chunk-size", 0, "calls that travel together; 0 is automatic")
}

func (f *inputFlags) check() error {
	if f.chunk < 0 {
		return console.Usagef("--chunk-size is %d; use a positive number of calls, or 0 for automatic", f.chunk)
	}
	return nil
}

// open opens the file, or standard input. The name is for messages.
func (f *inputFlags) open(a *console.App) (in io.ReadCloser, name string, err error) {
	if f.file != "" && f.file != "-" {
		in, err := os.Open(f.file)
		return in, f.file, err
	}
	if console.IsTerminal(a.In) {
		fmt.Fprintln(a.Err, "reading arguments from the terminal, one JSON value a line; end with Ctrl-D")
	}
	return io.NopCloser(a.In), "standard input", nil
}

// readArgs returns the arguments of a map: from the command line or, if there are
// none, or just "-", one JSON value a line from the input. Reading ends with ctx.
func (f *inputFlags) readArgs(ctx context.Context, a *console.App, words []string) ([]json.RawMessage, error) {
	switch {
	case f.file != "" && len(words) > 0:
		return nil, errors.New("arguments and --input exclude each other; leave one of them out")
	case len(words) == 0, len(words) == 1 && words[0] == "-":
		in, name, err := f.open(a)
		if err != nil {
			return nil, err
		}
		defer in.Close()
		return readLines(ctx, in, name)
	}
	args := make([]json.RawMessage, len(words))
	for i, word := range words {
		if err := checkJSON([]byte(word)); err != nil {
			return nil, fmt.Errorf("argument %d: %w", i+1, err)
		}
		args[i] = json.RawMessage(word)
	}
	return args, nil
}

// readLines reads all lines. What of the input was read when ctx ends is dropped, and
// a read that does not return is left behind.
func readLines(ctx context.Context, r io.Reader, name string) ([]json.RawMessage, error) {
	type input struct {
		args []json.RawMessage
		err  error
	}
	read := make(chan input, 1)
	go func() {
		args, err := readAll(r, name)
		read <- input{args, err}
	}()
	select {
	case in := <-read:
		return in.args, in.err
	case <-ctx.Done():
		return nil, console.NoResult(fmt.Errorf("%w while %s was read", console.Stopped(ctx), name))
	}
}

func readAll(r io.Reader, name string) ([]json.RawMessage, error) {
	args := []json.RawMessage{}
	for arg, err := range lines(r, name) {
		if err != nil {
			return nil, err
		}
		args = append(args, arg)
	}
	return args, nil
}

// lines yields the JSON values of an input, one a line. Blank lines are skipped. An
// error is the last that it yields.
func lines(r io.Reader, name string) iter.Seq2[json.RawMessage, error] {
	return func(yield func(json.RawMessage, error) bool) {
		in := bufio.NewReader(r)
		for number := 1; ; number++ {
			line, rerr := in.ReadBytes('\n')
			err := rerr
			if errors.Is(err, io.EOF) {
				err = nil
			}
			line = bytes.TrimSpace(line)
			if err == nil && len(line) > 0 {
				err = checkJSON(line)
			}
			if err != nil {
				yield(nil, fmt.Errorf("%s: line %d: %w", name, number, err))
				return
			}
			if len(line) > 0 && !yield(line, nil) || rerr != nil {
				return
			}
		}
	}
}

// shown is how much of a bad value an error quotes.
const shown = 60

// marks are the byte order marks with which some editors begin a file: they cannot be
// seen, and are no JSON.
var marks = map[string]string{"\xef\xbb\xbf": "UTF-8", "\xff\xfe": "UTF-16", "\xfe\xff": "UTF-16"}

func checkJSON(text []byte) error {
	var v json.RawMessage
	err := json.Unmarshal(text, &v)
	if err == nil {
		return nil
	}
	for mark, encoding := range marks {
		if bytes.HasPrefix(text, []byte(mark)) {
			return fmt.Errorf("it begins with the byte order mark of %s; save the input as UTF-8 without such a mark", encoding)
		}
	}
	if len(text) > shown {
		text = append(text[:shown:shown], "..."...)
	}
	return fmt.Errorf("%s is not a JSON value: %w; a string needs double quotes", text, err)
}

// checkTuples makes sure that every argument is an array. Its error counts calls
// from 1, as an editor counts lines.
func checkTuples(args []json.RawMessage) error {
	for i, arg := range args {
		if text := bytes.TrimSpace(arg); text[0] != '[' {
			return fmt.Errorf("tuple %d is %.*s; starmap takes JSON arrays, such as [1,2], one for each call", i+1, shown, text)
		}
	}
	return nil
}
