// packing.h: documents whole in rows of equal length: for conversations, of which the second half teaches little without the first.
//
// Best fit decreasing (Johnson 1974): from the longest to the shortest, each into the row where it leaves least room, into a new row
// where none has room for it. Counting sort and one list of rows for each room make that linear in documents.
//
//     row 0   [ 17 .............................. ]
//     row 1   [ 4 ................ | 9 .... | 12 .]
//     row 2   [ 8 ............ | 3 ........ | ****]    padding
//
// A document of L tokens is L - 1 pairs of a token and the one behind it, and a row holds T pairs. A document of more is cut into
// pieces of T and a rest. Which documents share a row depends on the data and T alone: passes differ in the order of rows (loader.h),
// so a row is a function of its number, and nothing more is kept where a run stops.
//
// Of pairs of replies (dataset.h) a piece is both documents of a pair, L - 2 pairs of tokens, and is never cut.
#pragma once
#include "data/dataset.h"

typedef struct hone_packing {
    int64_t n_rows, n_pieces;
    int64_t *first;             // (n_rows + 1,) of each row among the pieces
    int64_t *start;             // (n_pieces,) position of the piece's first token in the data set
    int32_t *pairs;             // (n_pieces,)
    int64_t n_pairs;            // of all pieces; the rest of n_rows T is padding
    int64_t cut;                // documents that are in more than one piece
} hone_packing;

// data: with documents (not raw). Fails where no document has two tokens.
hone_status hone_packing_make(hone_packing *packing, const hone_dataset *data, int64_t T);
void hone_packing_release(hone_packing *packing);
