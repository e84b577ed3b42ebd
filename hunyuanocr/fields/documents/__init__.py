"""Documents: several papers in one picture, and the documents of a file with several pages."""

from hunyuanocr.fields.documents.split import DocumentPart, split_documents

__all__ = ["DocumentPart", "split_documents"]
