// SPDX-License-Identifier: Apache-2.0
// EmbeddingTable: rows that tokens look up, one each.
//
// A table that is the output head too is multiplied and therefore packed. One that is only looked up stays where it is,
// in the mapped checkpoint: a token decodes its one row, the rest of the table is never read and takes no memory of the
// process. Both give the same values. The table shares the ownership of its file, so the Checkpoint may go.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "tritium/format/pack.h"
#include "tritium/io/mapped_file.h"

TRITIUM_NAMESPACE_BEGIN

/// A matrix of which tokens read one row each: packed, or left in the mapped file as it is stored.
class EmbeddingTable {
 public:
  EmbeddingTable() = default;
  /// A table that matrix() products need as well.
  EmbeddingTable(PackedMatrix matrix) : matrix_(std::move(matrix)) {}

  /// Rows that stay in their file; `rows` lie in `file`, `name` stands for the tensor in messages. Of a file that was
  /// read instead of mapped (FileAccess::read) the rows are copied as they are stored, and the file is not kept.
  ///
  /// A mapped file is read whenever a token comes by. Replacing it by rename or deleting it changes nothing; writing into
  /// it changes the model, and a file made shorter raises SIGBUS at the next row past its end, as every mapping does:
  /// check_unchanged() tells of both between generations, find_mapping() in the application's own handler which file it
  /// was, and a checkpoint opened with FileAccess::read is immune.
  /// Errors: invalid_argument (no rows, rows that are not whole blocks), invalid_file (a scale that is not finite),
  /// out_of_memory.
  static Result<EmbeddingTable> of_rows(const StoredMatrix& rows, std::shared_ptr<const MappedFile> file,
                                        std::string name) {
    const PackFormat format = keep_format(rows.type);
    if (rows.rows == 0 || rows.cols == 0) return make_error(Errc::invalid_argument, "a table without rows", name);
    TRITIUM_TRY(detail::check_stored(rows, format));
    EmbeddingTable table;
    table.rows_ = rows;
    table.name_ = std::move(name);
    if (file != nullptr && file->mapped()) {
      table.file_ = std::move(file);
      return table;
    }
    TRITIUM_ASSIGN(const std::size_t bytes, checked_mul(rows.rows, rows.row_bytes()));
    TRITIUM_ASSIGN(table.copy_, AlignedBuffer::allocate(bytes));
    std::memcpy(table.copy_.data(), rows.data, bytes);
    table.rows_.data = table.copy_.data();
    return table;
  }

  [[nodiscard]] bool empty() const { return matrix_.empty() && rows_.rows == 0; }  ///< Whether there is no table.
  /// Rows: ids that it knows.
  [[nodiscard]] std::size_t n_rows() const { return matrix_.empty() ? rows_.rows : matrix_.n(); }
  [[nodiscard]] std::size_t cols() const { return matrix_.empty() ? rows_.cols : matrix_.k(); }  ///< Numbers of a row.
  /// The packed table; empty when it is only looked up.
  [[nodiscard]] const PackedMatrix& matrix() const { return matrix_; }
  /// Bytes of memory that belong to the table.
  [[nodiscard]] std::size_t bytes() const { return matrix_.bytes() + copy_.size(); }
  /// Bytes that stay in the file.
  [[nodiscard]] std::size_t mapped_bytes() const { return file_ == nullptr ? 0 : rows_.rows * rows_.row_bytes(); }

  /// out[i] = element i of a row, cols() floats: the values that the file holds, or those of the packed matrix.
  /// Precondition: row < n_rows(). Errors: invalid_file (numbers that are not finite, reserved codes: rows in a file are
  /// checked when they are read, not when the model is loaded).
  [[nodiscard]] Status decode_row(std::size_t row, float* out) const {
    TRITIUM_ASSUME(row < n_rows());
    if (!matrix_.empty()) {
      matrix_.decode_row(row, out);
      return {};
    }
    const Status done = detail::load_row(rows_, row, out);
    if (file_ != nullptr) forget(row);
    if (done.ok()) return {};
    return Error{done.error().code, name_ + ": " + done.error().message};
  }

  /// Whether the file behind the rows is as it was when it was opened. Errors: io ("file changed while in use").
  [[nodiscard]] Status check_unchanged() const { return file_ == nullptr ? Status() : file_->check_unchanged(); }

 private:
  /// Unmaps what reading a row has mapped: the system maps cached pages around it too, up to a huge page, so that in time
  /// the whole table would count as resident. They stay in the system's cache.
  void forget(std::size_t row) const {
    constexpr std::size_t kAround = std::size_t{2} << 20;
    const std::size_t bytes = rows_.rows * rows_.row_bytes();
    const std::size_t at = row * rows_.row_bytes();
    const std::size_t begin = at - std::min(at, kAround);
    const std::size_t end = std::min(bytes, at + rows_.row_bytes() + kAround);
    drop_mapped_pages({rows_.data + begin, end - begin});
  }

  PackedMatrix matrix_;
  StoredMatrix rows_;  // when matrix_ is empty
  std::shared_ptr<const MappedFile> file_;
  AlignedBuffer copy_;
  std::string name_;
};

TRITIUM_NAMESPACE_END
