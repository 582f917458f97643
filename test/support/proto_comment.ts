// The comments of proto/, from the source information of the descriptors in proto/holdfast.binpb.

import type { AnyDesc, DescFile } from '@bufbuild/protobuf'
import type { SourceCodeInfo_Location } from '@bufbuild/protobuf/wkt'

/** Field numbers of google.protobuf.FileDescriptorProto and of the descriptors in it. */
const NUMBER = { message: 4, enum: 5, service: 6, method: 2, field: 2, nested: 3, nestedEnum: 4, value: 2, oneof: 8 }

type Described = Extract<AnyDesc, { kind: 'message' | 'enum' | 'service' | 'rpc' | 'field' | 'enum_value' | 'oneof' }>

function pathOf(desc: Described): number[] {
  switch (desc.kind) {
    case 'service':
      return [NUMBER.service, desc.file.services.indexOf(desc)]
    case 'rpc':
      return [...pathOf(desc.parent), NUMBER.method, desc.parent.methods.indexOf(desc)]
    case 'message':
      return desc.parent === undefined
        ? [NUMBER.message, desc.file.messages.indexOf(desc)]
        : [...pathOf(desc.parent), NUMBER.nested, desc.parent.nestedMessages.indexOf(desc)]
    case 'enum':
      return desc.parent === undefined
        ? [NUMBER.enum, desc.file.enums.indexOf(desc)]
        : [...pathOf(desc.parent), NUMBER.nestedEnum, desc.parent.nestedEnums.indexOf(desc)]
    case 'enum_value':
      return [...pathOf(desc.parent), NUMBER.value, desc.parent.values.indexOf(desc)]
    case 'field':
      return [...pathOf(desc.parent), NUMBER.field, desc.parent.fields.indexOf(desc)]
    case 'oneof':
      return [...pathOf(desc.parent), NUMBER.oneof, desc.parent.oneofs.indexOf(desc)]
  }
}

const fileOf = (desc: Described): DescFile => ('file' in desc ? desc.file : desc.parent.file)

function locationOf(desc: Described): SourceCodeInfo_Location | undefined {
  const path = pathOf(desc).join('.')
  return fileOf(desc).proto.sourceCodeInfo?.location.find((location) => location.path.join('.') === path)
}

/** The lines of a comment, each without the space that follows the slashes. */
const linesOf = (comment: string): string[] => comment.split('\n').map((line) => line.replace(/^ /, '').trimEnd())

/** The comment above a descriptor, as lines. */
export const commentOf = (desc: Described): string[] => linesOf(locationOf(desc)?.leadingComments.trimEnd() ?? '')

/** The comments that stand above a descriptor but apart from it, as lines. */
export const detachedCommentsOf = (desc: Described): string[][] =>
  (locationOf(desc)?.leadingDetachedComments ?? []).map((comment) => linesOf(comment.trimEnd()))
