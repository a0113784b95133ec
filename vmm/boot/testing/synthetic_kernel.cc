// SPDX-License-Identifier: Apache-2.0
#include "vmm/boot/testing/synthetic_kernel.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

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
  Elf64_Ehdr file{};
  std::memcpy(file.e_ident, ELFMAG, SELFMAG);
  file.e_ident[EI_CLASS] = ELFCLASS64;
  file.e_ident[EI_DATA] = ELFDATA2LSB;
  file.e_ident[EI_VERSION] = EV_CURRENT;
  file.e_type = ET_EXEC;
  file.e_machine = EM_X86_64;
  file.e_version = EV_CURRENT;
  file.e_entry = entry;
  file.e_phoff = sizeof file;
  file.e_ehsize = sizeof file;
  file.e_phentsize = sizeof(Elf64_Phdr);
  file.e_phnum = static_cast<Elf64_Half>(segments.size());
  Bytes bytes;
  append_object(bytes, file);
  std::uint64_t offset = sizeof file + segments.size() * sizeof(Elf64_Phdr);
  for (const ElfSegment& segment : segments) {
    Elf64_Phdr header{};
    header.p_type = segment.type;
    header.p_offset = offset;
    header.p_paddr = segment.address;
    header.p_filesz = segment.content.size();
    header.p_memsz = std::max<std::uint64_t>(segment.memory_bytes, segment.content.size());
    header.p_align = segment.alignment;
    append_object(bytes, header);
    offset += segment.content.size();
  }
  for (const ElfSegment& segment : segments) {
    bytes.insert(bytes.end(), segment.content.begin(), segment.content.end());
  }
  return bytes;
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
