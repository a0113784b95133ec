// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/testing/synthetic_kernel.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "net/base/check.h"

namespace tapir::vmm::boot::testing {
namespace {

constexpr std::size_t kSetupBytes = 1024;  // boot sector and one setup sector

template <typename T>
void append_object(Bytes& bytes, const T& value) {
  const auto* const first = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), first, first + sizeof value);
}

void append_note(Bytes& bytes, std::uint32_t type, const std::string& name, const Bytes& description,
                 std::size_t alignment) {
  const auto pad = [&] { bytes.resize((bytes.size() + alignment - 1) / alignment * alignment); };
  append_object(bytes, Elf64_Nhdr{static_cast<Elf64_Word>(name.size() + 1),
                                  static_cast<Elf64_Word>(description.size()), type});
  for (const char c : name) {
    bytes.push_back(static_cast<std::byte>(c));
  }
  bytes.push_back(std::byte{0});
  pad();
  bytes.insert(bytes.end(), description.begin(), description.end());
  pad();
}

template <typename FileHeader, typename ProgramHeader>
Bytes build_elf(const ElfBuilder& elf, unsigned char file_class, std::uint16_t machine) {
  using Offset = decltype(FileHeader::e_phoff);
  using Word = decltype(ProgramHeader::p_filesz);
  FileHeader file{};
  std::memcpy(file.e_ident, ELFMAG, SELFMAG);
  file.e_ident[EI_CLASS] = file_class;
  file.e_ident[EI_DATA] = ELFDATA2LSB;
  file.e_ident[EI_VERSION] = EV_CURRENT;
  file.e_type = ET_EXEC;
  file.e_machine = machine;
  file.e_version = EV_CURRENT;
  file.e_entry = static_cast<decltype(file.e_entry)>(elf.entry);
  file.e_phoff = sizeof file;
  file.e_ehsize = sizeof file;
  file.e_phentsize = sizeof(ProgramHeader);
  file.e_phnum = static_cast<std::uint16_t>(elf.segments.size());
  Bytes bytes;
  append_object(bytes, file);
  std::uint64_t offset = sizeof file + elf.segments.size() * sizeof(ProgramHeader);
  for (const ElfSegment& segment : elf.segments) {
    ProgramHeader header{};
    header.p_type = segment.type;
    header.p_offset = static_cast<Offset>(offset);
    header.p_paddr = static_cast<Offset>(segment.address);
    header.p_filesz = static_cast<Word>(segment.content.size());
    header.p_memsz = static_cast<Word>(std::max<std::uint64_t>(segment.memory_bytes, segment.content.size()));
    header.p_align = static_cast<Word>(segment.alignment);
    append_object(bytes, header);
    offset += segment.content.size();
  }
  for (const ElfSegment& segment : elf.segments) {
    bytes.insert(bytes.end(), segment.content.begin(), segment.content.end());
  }
  return bytes;
}

}  // namespace

Bytes pattern(std::size_t bytes) {
  Bytes content(bytes);
  for (std::size_t i = 0; i < bytes; ++i) {
    content[i] = static_cast<std::byte>(i % 251);
  }
  return content;
}

BzImageBuilder::BzImageBuilder() {
  header.setup_sects = 1;
  header.boot_flag = 0xAA55;
  header.jump = 0x66EB;  // a short jump to 0x202 + 0x66 = 0x268
  header.header = 0x5372'6448;
  header.version = 0x020F;
  header.loadflags = LOADED_HIGH;
  header.initrd_addr_max = 0x7FFF'FFFF;
  header.kernel_alignment = 0x20'0000;
  header.relocatable_kernel = 1;
  header.xloadflags = XLF_KERNEL_64;
  header.cmdline_size = 2047;
  header.pref_address = 0x100'0000;
  header.init_size = 0x10'0000;
}

Bytes BzImageBuilder::build() const {
  setup_header final_header = header;
  final_header.syssize = syssize.value_or(static_cast<std::uint32_t>((code_bytes + 15) / 16));
  Bytes bytes(kSetupBytes);
  std::memcpy(&bytes[offsetof(boot_params, hdr)], &final_header, sizeof final_header);
  Bytes code = pattern(code_bytes);
  code.resize((code.size() + 15) / 16 * 16);
  bytes.insert(bytes.end(), code.begin(), code.end());
  return bytes;
}

void ElfBuilder::add_load(std::uint64_t address, std::size_t bytes, std::uint64_t memory_bytes) {
  segments.push_back({PT_LOAD, address, pattern(bytes), memory_bytes, 0x1000});
}

void ElfBuilder::add_pvh_note(std::uint64_t pvh_entry, std::size_t description_bytes,
                              std::uint64_t alignment) {
  Bytes description;
  append_object(description, pvh_entry);
  description.resize(description_bytes);
  ElfSegment note;
  note.type = PT_NOTE;
  note.alignment = alignment;
  append_note(note.content, 6, "Linux", Bytes(3), alignment);
  append_note(note.content, 18, "Xen", description, alignment);
  segments.push_back(std::move(note));
}

Bytes ElfBuilder::build() const {
  return build_elf<Elf64_Ehdr, Elf64_Phdr>(*this, ELFCLASS64, EM_X86_64);
}

Bytes ElfBuilder::build_32() const {
  return build_elf<Elf32_Ehdr, Elf32_Phdr>(*this, ELFCLASS32, EM_386);
}

Bytes multiboot_header(std::uint32_t flags, const std::vector<std::uint32_t>& addresses) {
  constexpr std::uint32_t kMagic = 0x1BAD'B002;
  const std::uint32_t all_flags = flags | (addresses.empty() ? 0U : 0x1'0000U);
  Bytes bytes;
  append_object(bytes, kMagic);
  append_object(bytes, all_flags);
  append_object(bytes, 0U - (kMagic + all_flags));
  for (const std::uint32_t address : addresses) {
    append_object(bytes, address);
  }
  return bytes;
}

Bytes multiboot_elf_kernel() {
  ElfBuilder builder;
  builder.entry = 0x10'0000;
  builder.add_load(0x10'0000, 5000, 20000);
  const Bytes header = multiboot_header(3);
  std::copy(header.begin(), header.end(), builder.segments[0].content.begin() + 16);
  return builder.build_32();
}

Bytes multiboot_flat_kernel() {
  Bytes bytes = pattern(4096);
  const Bytes header = multiboot_header(0, {0x20'0040, 0x20'0000, 0x20'1000, 0x20'2000, 0x20'0000});
  std::copy(header.begin(), header.end(), bytes.begin() + 64);
  return bytes;
}

Bytes gzipped(const Bytes& bytes) {
  z_stream stream{};
  CHECK(deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  Bytes packed(::deflateBound(&stream, bytes.size()));
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  CHECK(::deflate(&stream, Z_FINISH) == Z_STREAM_END);
  packed.resize(stream.total_out);
  ::deflateEnd(&stream);
  return packed;
}

Bytes zstandard(const Bytes& bytes) {
  Bytes packed(::ZSTD_compressBound(bytes.size()));
  const std::size_t size = ::ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), 1);
  CHECK(::ZSTD_isError(size) == 0);
  packed.resize(size);
  return packed;
}

void replace_content(int fd, const Bytes& bytes) {
  CHECK(::ftruncate(fd, 0) == 0);
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written = ::pwrite(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(done));
    CHECK(written > 0);
    done += static_cast<std::size_t>(written);
  }
}

ImageFile make_file(const Bytes& bytes, std::string label) {
  UniqueFd fd(::memfd_create("kernel", MFD_CLOEXEC));
  CHECK(fd);
  replace_content(fd.get(), bytes);
  return {std::move(fd), std::move(label)};
}

}  // namespace tapir::vmm::boot::testing
