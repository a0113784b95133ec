// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "net/base/result.h"
#include "vmm/boot/image_file.h"

namespace tapir::vmm::boot {

/// What is inside of a compressed file, in an anonymous file with the same label.
struct Unpacked {
  ImageFile file;
  bool cut = false;  ///< there was more than the limit
};

/// Unpacks a file that begins with the magic number of gzip or zstd, up to `limit` bytes; nothing for any
/// other. What is behind the limit is never produced, so a small file that would unpack to terabytes costs no
/// more than the limit. Error: the data are damaged or end too early.
[[nodiscard]] Result<std::optional<Unpacked>> unpack(const ImageFile& file, std::uint64_t limit);

}  // namespace tapir::vmm::boot
