package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/distpool/distpool/internal/cli/progress"
)

// readArgs returns the arguments of a map: from the command line, or, one JSON
// value a line, from the file or standard input. Blank lines are skipped.
// Reading ends with ctx.
func (a *app) readArgs(ctx context.Context, words []string, file string) ([]json.RawMessage, error) {
	fromStdin := len(words) == 1 && words[0] == "-" || len(words) == 0 && (file == "" || file == "-")
	switch {
	case file != "" && len(words) > 0:
		return nil, errors.New("arguments and --input exclude each other; leave one of them out")
	case fromStdin:
		if progress.IsTerminal(a.In) {
			fmt.Fprintln(a.Err, "reading arguments from the terminal, one JSON value a line; end with Ctrl-D")
		}
		return readLines(ctx, a.In, "standard input")
	case file != "":
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return readLines(ctx, f, file)
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

// readLines reads one JSON value a line. What of the input was read when ctx ends is
// dropped, and a read that does not return is left behind.
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
		return nil, noResult(fmt.Errorf("%w while %s was read", stopped(ctx), name))
	}
}

func readAll(r io.Reader, name string) ([]json.RawMessage, error) {
	args := []json.RawMessage{}
	in := bufio.NewReader(r)
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s: line %d: %w", name, number, err)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if err := checkJSON(line); err != nil {
				return nil, fmt.Errorf("%s: line %d: %w", name, number, err)
			}
			args = append(args, line)
		}
		if err != nil {
			return args, nil
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
