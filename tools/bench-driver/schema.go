package main

import (
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

const pkg = "holdfast.v1."

// schema builds messages from the committed descriptor set, so that no generated code must be kept current.
type schema struct{ files *protoregistry.Files }

func loadSchema(path string) (*schema, error) {
	bytes, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(bytes, &set); err != nil {
		return nil, err
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return nil, err
	}
	return &schema{files}, nil
}

// exchange gives a method's request, filled from JSON, an empty response, and the path to call.
func (s *schema) exchange(method, body string) (request, response *dynamicpb.Message, path string, err error) {
	found, err := s.files.FindDescriptorByName(protoreflect.FullName(pkg + strings.Replace(method, "/", ".", 1)))
	if err != nil {
		return nil, nil, "", fmt.Errorf("%s: %w", method, err)
	}
	descriptor := found.(protoreflect.MethodDescriptor)
	request = dynamicpb.NewMessage(descriptor.Input())
	if err := protojson.Unmarshal([]byte(body), request); err != nil {
		return nil, nil, "", fmt.Errorf("%s: %w", method, err)
	}
	return request, dynamicpb.NewMessage(descriptor.Output()), "/" + pkg + method, nil
}

// encode serialises a message given as JSON.
func (s *schema) encode(name, body string) ([]byte, error) {
	found, err := s.files.FindDescriptorByName(protoreflect.FullName(pkg + name))
	if err != nil {
		return nil, err
	}
	message := dynamicpb.NewMessage(found.(protoreflect.MessageDescriptor))
	if err := protojson.Unmarshal([]byte(body), message); err != nil {
		return nil, err
	}
	return proto.Marshal(message)
}

func (s *schema) enumName(name string, number protoreflect.EnumNumber) string {
	found, err := s.files.FindDescriptorByName(protoreflect.FullName(pkg + name))
	if err != nil {
		return err.Error()
	}
	value := found.(protoreflect.EnumDescriptor).Values().ByNumber(number)
	if value == nil {
		return fmt.Sprint(number)
	}
	return string(value.Name())
}
