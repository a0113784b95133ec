// SPDX-License-Identifier: Apache-2.0
#include "vmm/acpi/aml.h"

#include <algorithm>

#include "net/base/check.h"

namespace tapir::vmm::acpi::aml {
namespace {

// Opcodes of 20.2 that are used here. An extended one is preceded by kExtOpPrefix.
constexpr std::uint8_t kZeroOp = 0x00;
constexpr std::uint8_t kOneOp = 0x01;
constexpr std::uint8_t kNameOp = 0x08;
constexpr std::uint8_t kBytePrefix = 0x0A;
constexpr std::uint8_t kWordPrefix = 0x0B;
constexpr std::uint8_t kDwordPrefix = 0x0C;
constexpr std::uint8_t kStringPrefix = 0x0D;
constexpr std::uint8_t kQwordPrefix = 0x0E;
constexpr std::uint8_t kScopeOp = 0x10;
constexpr std::uint8_t kBufferOp = 0x11;
constexpr std::uint8_t kPackageOp = 0x12;
constexpr std::uint8_t kMethodOp = 0x14;
constexpr std::uint8_t kDualNamePrefix = 0x2E;
constexpr std::uint8_t kMultiNamePrefix = 0x2F;
constexpr std::uint8_t kExtOpPrefix = 0x5B;
constexpr std::uint8_t kLocal0Op = 0x60;
constexpr std::uint8_t kArg0Op = 0x68;
constexpr std::uint8_t kOrOp = 0x7D;
constexpr std::uint8_t kCreateDwordFieldOp = 0x8A;
constexpr std::uint8_t kLnotOp = 0x92;
constexpr std::uint8_t kLequalOp = 0x93;
constexpr std::uint8_t kIfOp = 0xA0;
constexpr std::uint8_t kElseOp = 0xA1;
constexpr std::uint8_t kReturnOp = 0xA4;
constexpr std::uint8_t kDeviceOp = 0x82;  // after kExtOpPrefix

constexpr std::size_t kSegmentLength = 4;

void append(Bytes& to, const Bytes& from) {
  to.insert(to.end(), from.begin(), from.end());
}

void append_little_endian(Bytes& to, std::uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; ++i) {
    to.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
  }
}

Bytes join(const Terms& terms) {
  Bytes all;
  for (const Bytes& term : terms) {
    append(all, term);
  }
  return all;
}

/// PkgLength (20.2.4) counts itself: one byte up to 63, else four bits in the first byte and up to three
/// more.
Bytes with_package_length(const Bytes& content) {
  Bytes result;
  if (content.size() + 1 <= 0x3F) {
    result.push_back(static_cast<std::uint8_t>(content.size() + 1));
  } else {
    unsigned follow = 1;
    while (content.size() + 1 + follow >= (std::uint64_t{1} << (4 + 8 * follow))) {
      ++follow;
    }
    CHECK(follow <= 3);
    const std::uint64_t length = content.size() + 1 + follow;
    result.push_back(static_cast<std::uint8_t>((follow << 6) | (length & 0xF)));
    append_little_endian(result, length >> 4, follow);
  }
  append(result, content);
  return result;
}

Bytes block(std::uint8_t opcode, const Bytes& content) {
  Bytes result{opcode};
  append(result, with_package_length(content));
  return result;
}

unsigned hex_digit(char c) {
  if (c >= '0' && c <= '9') {
    return static_cast<unsigned>(c - '0');
  }
  const char lower = static_cast<char>(c | 0x20);
  CHECK(lower >= 'a' && lower <= 'f');
  return static_cast<unsigned>(lower - 'a' + 10);
}

void append_segment(Bytes& to, std::string_view segment) {
  CHECK(!segment.empty() && segment.size() <= kSegmentLength);
  for (std::size_t i = 0; i < kSegmentLength; ++i) {
    const char c = i < segment.size() ? segment[i] : '_';
    const bool digit = c >= '0' && c <= '9';
    CHECK((c >= 'A' && c <= 'Z') || c == '_' || (digit && i > 0));
    to.push_back(static_cast<std::uint8_t>(c));
  }
}

}  // namespace

Bytes integer(std::uint64_t value) {
  if (value <= 1) {
    return {value == 0 ? kZeroOp : kOneOp};
  }
  Bytes result;
  if (value <= 0xFF) {
    result.push_back(kBytePrefix);
    append_little_endian(result, value, 1);
  } else if (value <= 0xFFFF) {
    result.push_back(kWordPrefix);
    append_little_endian(result, value, 2);
  } else if (value <= 0xFFFF'FFFF) {
    result.push_back(kDwordPrefix);
    append_little_endian(result, value, 4);
  } else {
    result.push_back(kQwordPrefix);
    append_little_endian(result, value, 8);
  }
  return result;
}

Bytes string(std::string_view text) {
  Bytes result{kStringPrefix};
  for (const char c : text) {
    CHECK(c > 0);
    result.push_back(static_cast<std::uint8_t>(c));
  }
  result.push_back(0);
  return result;
}

Bytes eisa_id(std::string_view id) {
  CHECK(id.size() == 7);
  std::uint32_t packed = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(id[i] >= 'A' && id[i] <= 'Z');
    packed = (packed << 5) | static_cast<std::uint32_t>(id[i] - '@');
  }
  for (std::size_t i = 3; i < 7; ++i) {
    packed = (packed << 4) | hex_digit(id[i]);
  }
  // Big-endian in the table, unlike every other integer. Always four bytes, so that it is told from a number.
  Bytes result{kDwordPrefix};
  for (int shift = 24; shift >= 0; shift -= 8) {
    result.push_back(static_cast<std::uint8_t>(packed >> shift));
  }
  return result;
}

Bytes buffer(std::span<const std::uint8_t> content) {
  Bytes inner = integer(content.size());
  inner.insert(inner.end(), content.begin(), content.end());
  return block(kBufferOp, inner);
}

Bytes uuid(std::string_view text) {
  CHECK(text.size() == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-');
  // Where in the text each byte of the buffer stands: three little-endian groups, then two as written.
  constexpr std::size_t kPositions[] = {6, 4, 2, 0, 11, 9, 16, 14, 19, 21, 24, 26, 28, 30, 32, 34};
  Bytes content;
  for (const std::size_t position : kPositions) {
    content.push_back(
        static_cast<std::uint8_t>(hex_digit(text[position]) << 4 | hex_digit(text[position + 1])));
  }
  return buffer(content);
}

Bytes package(const Terms& elements) {
  CHECK(elements.size() <= 0xFF);
  Bytes inner{static_cast<std::uint8_t>(elements.size())};
  append(inner, join(elements));
  return block(kPackageOp, inner);
}

Bytes path(std::string_view text) {
  Bytes result;
  if (!text.empty() && text.front() == '\\') {
    result.push_back('\\');
    text.remove_prefix(1);
  }
  const auto segments = static_cast<std::size_t>(std::count(text.begin(), text.end(), '.')) + 1;
  if (segments == 2) {
    result.push_back(kDualNamePrefix);
  } else if (segments > 2) {
    CHECK(segments <= 0xFF);
    result.push_back(kMultiNamePrefix);
    result.push_back(static_cast<std::uint8_t>(segments));
  }
  for (std::size_t i = 0; i < segments; ++i) {
    const std::size_t length = std::min(text.find('.'), text.size());
    append_segment(result, text.substr(0, length));
    text.remove_prefix(std::min(length + 1, text.size()));
  }
  return result;
}

Bytes name(std::string_view object, const Bytes& value) {
  Bytes result{kNameOp};
  append(result, path(object));
  append(result, value);
  return result;
}

Bytes scope(std::string_view object, const Terms& content) {
  Bytes inner = path(object);
  append(inner, join(content));
  return block(kScopeOp, inner);
}

Bytes device(std::string_view object, const Terms& content) {
  Bytes inner = path(object);
  append(inner, join(content));
  Bytes result{kExtOpPrefix};
  append(result, block(kDeviceOp, inner));
  return result;
}

Bytes method(std::string_view object, unsigned arguments, bool serialized, const Terms& content) {
  CHECK(arguments <= 7);
  Bytes inner = path(object);
  inner.push_back(static_cast<std::uint8_t>(arguments | (serialized ? 0x08U : 0U)));
  append(inner, join(content));
  return block(kMethodOp, inner);
}

Bytes arg(unsigned index) {
  CHECK(index <= 6);
  return {static_cast<std::uint8_t>(kArg0Op + index)};
}

Bytes local(unsigned index) {
  CHECK(index <= 7);
  return {static_cast<std::uint8_t>(kLocal0Op + index)};
}

Bytes equal(const Bytes& left, const Bytes& right) {
  return join({{kLequalOp}, left, right});
}

Bytes logical_not(const Bytes& operand) {
  return join({{kLnotOp}, operand});
}

Bytes bit_or(const Bytes& left, const Bytes& right, const Bytes& target) {
  return join({{kOrOp}, left, right, target});
}

Bytes when(const Bytes& condition, const Terms& content) {
  return block(kIfOp, join({condition, join(content)}));
}

Bytes otherwise(const Terms& content) {
  return block(kElseOp, join(content));
}

Bytes give_back(const Bytes& value) {
  return join({{kReturnOp}, value});
}

Bytes create_dword_field(const Bytes& source, unsigned byte_offset, std::string_view field) {
  return join({{kCreateDwordFieldOp}, source, integer(byte_offset), path(field)});
}

Bytes resource_template(const Terms& descriptors) {
  Bytes content = join(descriptors);
  content.push_back(0x79);  // End Tag
  content.push_back(0);     // a checksum of 0 means: not computed
  return buffer(content);
}

Bytes io_port(std::uint16_t base, std::uint8_t count) {
  CHECK(count > 0);
  Bytes result{0x47, 0x01};  // decodes 16 bits
  append_little_endian(result, base, 2);
  append_little_endian(result, base, 2);
  result.push_back(1);  // alignment
  result.push_back(count);
  return result;
}

Bytes isa_irq(unsigned irq) {
  CHECK(irq < 16);
  Bytes result{0x22};
  append_little_endian(result, std::uint64_t{1} << irq, 2);
  return result;
}

Bytes interrupt(std::uint32_t gsi, Trigger trigger, Polarity polarity, Sharing sharing) {
  Bytes result{0x89, 6, 0};                           // large item, six bytes
  result.push_back(static_cast<std::uint8_t>(0x01U |  // consumer
                                             (trigger == Trigger::kEdge ? 0x02U : 0U) |
                                             (polarity == Polarity::kActiveLow ? 0x04U : 0U) |
                                             (sharing == Sharing::kShared ? 0x08U : 0U)));
  result.push_back(1);  // interrupts in the table
  append_little_endian(result, gsi, 4);
  return result;
}

Bytes memory32_fixed(std::uint32_t base, std::uint32_t bytes) {
  Bytes result{0x86, 9, 0, 0x01};  // large item, nine bytes, read-write
  append_little_endian(result, base, 4);
  append_little_endian(result, bytes, 4);
  return result;
}

namespace {

// Resource types of the address space descriptors.
constexpr std::uint8_t kMemoryRange = 0;
constexpr std::uint8_t kIoRange = 1;
constexpr std::uint8_t kBusNumberRange = 2;

/// 6.4.3.5 "Address Space Resource Descriptors": granularity, minimum, maximum, translation offset and
/// length, each `width` bytes wide.
Bytes address_space(unsigned width, std::uint8_t type, std::uint8_t type_flags, std::uint64_t first,
                    std::uint64_t last) {
  CHECK(first <= last);
  const std::uint8_t tag = width == 2 ? 0x88 : width == 4 ? 0x87 : 0x8A;
  Bytes result{tag};
  append_little_endian(result, 3 + 5 * width, 2);
  result.push_back(type);
  result.push_back(0x0C);  // producer, positive decode, minimum and maximum fixed
  result.push_back(type_flags);
  for (const std::uint64_t field : {std::uint64_t{0}, first, last, std::uint64_t{0}, last - first + 1}) {
    append_little_endian(result, field, width);
  }
  return result;
}

}  // namespace

Bytes word_bus_numbers(std::uint16_t first, std::uint16_t last) {
  return address_space(2, kBusNumberRange, 0, first, last);
}

Bytes word_io(std::uint16_t first, std::uint16_t last) {
  return address_space(2, kIoRange, 0x03, first, last);  // the whole range, ISA and not
}

Bytes dword_memory(std::uint32_t first, std::uint32_t last) {
  return address_space(4, kMemoryRange, 0x01, first, last);
}

Bytes qword_memory(std::uint64_t first, std::uint64_t last) {
  return address_space(8, kMemoryRange, 0x01, first, last);
}

}  // namespace tapir::vmm::acpi::aml
