// Package openapi makes the OpenAPI description of Berth's services from their tables of routes. It is
// used when the description is generated and by the test that keeps it true; the program itself only
// carries the result (assets/openapi.json).
package openapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3gen"

	"berth/backend/api"
)

// Service is one table of routes; Server is the URL under which it is described.
type Service struct {
	Tag    string
	Prefix string // put before each path
	Routes []api.Route
}

var param = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\{(\w+)(\.\.\.)?\}`) })

// Describe returns the indented JSON of the services' description.
func Describe(title, version string, services ...Service) ([]byte, error) {
	doc := &openapi3.T{OpenAPI: "3.0.3", Info: &openapi3.Info{Title: title, Version: version,
		Description: "JSON over HTTP on a unix socket that only its owner may open. Streams are NDJSON, or frames after an upgrade to " + api.StreamProtocol + " (see package wire)."},
		Servers: openapi3.Servers{{URL: "http://berth"}}, Paths: openapi3.NewPaths(),
		Components: &openapi3.Components{Schemas: openapi3.Schemas{}}}
	schemaErr, err := schema(doc, api.ErrorDocument{})
	if err != nil {
		return nil, err
	}
	for _, s := range services {
		for _, r := range s.Routes {
			if strings.Contains(r.Path, "...") {
				continue // the way to the agents, which have a description of their own
			}
			op, err := operation(doc, s.Tag, r, schemaErr)
			if err != nil {
				return nil, err
			}
			path := s.Prefix + r.Path
			item := doc.Paths.Value(path)
			if item == nil {
				item = &openapi3.PathItem{}
				doc.Paths.Set(path, item)
			}
			item.SetOperation(r.Method, op)
		}
	}
	return json.MarshalIndent(doc, "", "  ")
}

func operation(doc *openapi3.T, tag string, r api.Route, errSchema *openapi3.SchemaRef) (*openapi3.Operation, error) {
	op := &openapi3.Operation{Tags: []string{tag}, Summary: r.Summary, Responses: openapi3.NewResponsesWithCapacity(2)}
	for _, m := range param().FindAllStringSubmatch(r.Path, -1) {
		op.AddParameter(openapi3.NewPathParameter(m[1]).WithSchema(openapi3.NewStringSchema()))
	}
	for _, q := range r.Query {
		op.AddParameter(openapi3.NewQueryParameter(q).WithSchema(openapi3.NewStringSchema()))
	}
	if r.Request != nil {
		s, err := schema(doc, r.Request)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
		}
		op.RequestBody = &openapi3.RequestBodyRef{Value: openapi3.NewRequestBody().WithJSONSchemaRef(s)}
	}
	res := openapi3.NewResponse().WithDescription("done")
	status := 200
	switch {
	case r.Stream == "frames":
		status = 101
		res = openapi3.NewResponse().WithDescription("a byte stream in frames; the request is its first frame")
	case r.Response == nil:
		status = 204
	default:
		s, err := schema(doc, r.Response)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
		}
		kind := "application/json"
		if r.Stream == "ndjson" {
			kind = "application/x-ndjson"
		}
		res = res.WithContent(openapi3.NewContentWithSchemaRef(s, []string{kind}))
	}
	op.AddResponse(status, res)
	op.Responses.Set("default", &openapi3.ResponseRef{Value: openapi3.NewResponse().WithDescription("an error").WithJSONSchemaRef(errSchema)})
	return op, nil
}

// schema adds the schema of a document's type to the components and returns a reference to it.
func schema(doc *openapi3.T, v any) (*openapi3.SchemaRef, error) {
	t := reflect.TypeOf(v)
	if t.Kind() == reflect.Slice {
		el, err := schema(doc, reflect.Zero(t.Elem()).Interface())
		if err != nil {
			return nil, err
		}
		arr := openapi3.NewArraySchema()
		arr.Items = el
		return openapi3.NewSchemaRef("", arr), nil
	}
	name := t.Name()
	if name == "" {
		return openapi3gen.NewSchemaRefForValue(v, nil)
	}
	if doc.Components.Schemas[name] == nil {
		ref, err := openapi3gen.NewSchemaRefForValue(v, nil, openapi3gen.UseAllExportedFields(),
			openapi3gen.ThrowErrorOnCycle())
		if err != nil {
			return nil, err
		}
		doc.Components.Schemas[name] = openapi3.NewSchemaRef("", ref.Value)
	}
	return openapi3.NewSchemaRef("#/components/schemas/"+name, nil), nil
}
