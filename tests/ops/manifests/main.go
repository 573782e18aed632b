// tests/ops/manifests - reads what others will read, with their own code: the compose file as docker compose does, strictly;
// the Dockerfile as BuildKit does, with its linter; what the chart renders into as Kubernetes does, strictly; workflows as GitHub does (actionlint). `manifests compose FILE`, `manifests
// dockerfile FILE`, `manifests kubernetes FILE`, `manifests workflows FILE ...`: prints what is wrong, one a line; exit status 1.
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
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"sigs.k8s.io/yaml"
)

// What the types of Kubernetes are asked about; kinds of other APIs are not.
func typeOf(apiVersion, kind string) any {
	switch apiVersion + "/" + kind {
	case "v1/ConfigMap":
		return &core.ConfigMap{}
	case "v1/Service":
		return &core.Service{}
	case "v1/ServiceAccount":
		return &core.ServiceAccount{}
	case "v1/Pod":
		return &core.Pod{}
	case "apps/v1/StatefulSet":
		return &apps.StatefulSet{}
	case "batch/v1/Job":
		return &batch.Job{}
	case "policy/v1/PodDisruptionBudget":
		return &policy.PodDisruptionBudget{}
	case "networking.k8s.io/v1/NetworkPolicy":
		return &networking.NetworkPolicy{}
	case "networking.k8s.io/v1/Ingress":
		return &networking.Ingress{}
	}
	return nil
}

// kubernetes decodes every document of a file strictly; prints "checked KIND NAME" or "not checked KIND NAME".
func kubernetes(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for _, document := range bytes.Split(append([]byte("\n"), text...), []byte("\n---")) {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}
		if err := yaml.Unmarshal(document, &head); err != nil {
			return err
		}
		if head.Kind == "" {
			continue
		}
		how, into := "checked", typeOf(head.APIVersion, head.Kind)
		if into == nil {
			how = "not checked"
		} else if err := yaml.UnmarshalStrict(document, into); err != nil {
			return fmt.Errorf("%s %s: %w", head.Kind, head.Metadata.Name, err)
		}
		fmt.Println(how, head.Kind, head.Metadata.Name)
	}
	return nil
}

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
	case len(os.Args) == 3 && os.Args[1] == "kubernetes":
		err = kubernetes(os.Args[2])
	case len(os.Args) > 2 && os.Args[1] == "workflows":
		err = workflows(os.Args[2:])
	default:
		err = fmt.Errorf("usage: manifests compose|dockerfile|kubernetes FILE, manifests workflows FILE ...")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
