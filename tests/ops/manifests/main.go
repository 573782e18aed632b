// tests/ops/manifests - reads what others will read, with their own code: the compose file as docker compose does, strictly;
// the Dockerfile as BuildKit does, with its linter; workflows as GitHub does (actionlint). `manifests compose FILE`, `manifests
// dockerfile FILE`, `manifests workflows FILE ...`: prints what is wrong, one a line; exit status 1.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/rhysd/actionlint"
)

// compose loads the file with every profile: schema, interpolation, references between services. What it means is printed.
func compose(path string) error {
	options, err := cli.NewProjectOptions([]string{path}, cli.WithInterpolation(true), cli.WithResolvedPaths(true),
		cli.WithProfiles([]string{"*"}), cli.WithConsistency(true))
	if err != nil {
		return err
	}
	project, err := options.LoadProject(context.Background())
	if err != nil {
		return err
	}
	text, err := project.MarshalJSON()
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(text, '\n'))
	return err
}

func dockerfile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	parsed, err := parser.Parse(bytes.NewReader(text))
	if err != nil {
		return err
	}
	var found []string
	lint := linter.New(&linter.Config{Warn: func(rule, _, _, message string, at []parser.Range) {
		line := 0
		if len(at) > 0 {
			line = at[0].Start.Line
		}
		found = append(found, fmt.Sprintf("%s:%d: %s [%s]", filepath.Base(path), line, message, rule))
	}})
	for _, warning := range parsed.Warnings {
		found = append(found, warning.Short)
	}
	if _, _, err = instructions.Parse(parsed.AST, lint); err != nil {
		return err
	}
	if len(found) > 0 {
		return fmt.Errorf("%s", strings.Join(found, "\n"))
	}
	return nil
}

func workflows(paths []string) error {
	lint, err := actionlint.NewLinter(io.Discard, &actionlint.LinterOptions{Shellcheck: "shellcheck"})
	if err != nil {
		return err
	}
	found, err := lint.LintFiles(paths, nil)
	if err != nil {
		return err
	}
	var lines []string
	for _, mistake := range found {
		lines = append(lines, mistake.Error())
	}
	if len(lines) > 0 {
		return fmt.Errorf("%s", strings.Join(lines, "\n"))
	}
	return nil
}

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "compose":
		err = compose(os.Args[2])
	case len(os.Args) == 3 && os.Args[1] == "dockerfile":
		err = dockerfile(os.Args[2])
	case len(os.Args) > 2 && os.Args[1] == "workflows":
		err = workflows(os.Args[2:])
	default:
		err = fmt.Errorf("usage: manifests compose|dockerfile FILE, manifests workflows FILE ...")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
